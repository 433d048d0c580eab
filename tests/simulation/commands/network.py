"""Time, calls and messages: who waits for whom, what is late, lost, or refused because somebody is down."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from controller.api.models import Role
from controller.errors import PairvolError, PeerError
from hostagent.actions import Action, ExchangeWithPeer, QueryState, SavePair
from hostagent.api.models import Exchange, ExchangeAnswer
from hostagent.facts import Instant
from hostagent.primary import message
from tests.simulation.commands.agents import ORDERS, REMOTE, SimAgent, carried_out
from tests.simulation.commands.fibers import Fiber
from tests.simulation.commands.orders import Site
from tests.simulation.world import wall

Finish = Callable[[object], None]
DEADLINE_SECONDS = 2.0


class Network:
    """The events of one history, in the order of their moments; all chance is its seed's."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.now = 0.0
        self.counts: Counter[str] = Counter()
        self.loss = self.chance.choice([0.0, 0.0, 0.05, 0.2])
        self.slow = self.chance.choice([0.01, 0.01, 0.1, 0.5])
        self.link_up = self.data_up = True
        self.agents: dict[str, SimAgent] = {}
        self.sites: dict[str, Site] = {}
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0

    @property
    def instant(self) -> Instant:
        return Instant(self.now, wall(self.now))

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (self.now + seconds, self._number, event))

    def run_until(self, end: float, done: Callable[[], bool] = lambda: False) -> bool:
        while self._events and self._events[0][0] <= end:
            self.now, _, event = heapq.heappop(self._events)
            event()
            if done():
                return True
        self.now = end
        return done()

    def delay(self) -> float:
        return self.chance.expovariate(1 / self.slow)

    def other(self, site: str) -> str:
        return "osaka" if site == "tokyo" else "tokyo"

    # -- what a fiber waits for ---------------------------------------------------------

    def call(self, fiber: Fiber, seconds: float, begin: Callable[[Finish], None]) -> Any:
        """Begin something, and wait for its end at most so long; an error that it ends with is raised."""
        ended = False

        def finish(result: object) -> None:
            nonlocal ended
            if not ended and not fiber.ended and not fiber.crashed:
                ended = True
                fiber.resume(result)

        self.stepped(fiber)
        self.after(seconds, lambda: finish(PeerError("no answer in time")))
        begin(lambda result: self.after(0.0, lambda: finish(result)))
        result = fiber.wait()
        if isinstance(result, PairvolError):
            raise result
        return result

    def sleep(self, fiber: Fiber, seconds: float) -> None:
        self.after(seconds, lambda: None if fiber.ended or fiber.crashed else fiber.resume())
        fiber.wait()

    def stepped(self, fiber: Fiber) -> None:
        """A command is about to do its next step."""

    def spawn(self, agent: SimAgent, body: Callable[[Fiber], object], finish: Finish) -> Fiber:
        """Run a program in the process of an agent; its result, or the error that ended it."""

        def main(fiber: Fiber) -> None:
            result: object
            try:
                result = body(fiber)
            except PairvolError as error:
                result = error
            finish(result)

        fiber = Fiber(main)
        agent.fibers.append(fiber)
        self.after(0.0, lambda: None if fiber.crashed else fiber.resume())
        return fiber

    # -- the own controller ---------------------------------------------------------------

    def order(self, agent: SimAgent, name: str, words: tuple[Any, ...], named: dict[str, Any], finish: Finish) -> None:
        site = self.sites[agent.site]
        waits = name == "state" and len(words) == 3
        ends = self.now + (words[2] if waits else 0.0)

        def arrive() -> None:
            if not site.up:
                self.after(0.001, lambda: finish(PeerError("connection refused")))
                return
            if waits and self.now < ends and self._moved(site) <= words[1]:
                self.after(0.1, arrive)
                return
            try:
                result: object = getattr(site, f"order_{name}")(self.now, *words, **named)
            except PairvolError as error:
                result = error
            if self.chance.random() >= self.loss / 4:
                self.after(self.delay() / 10, lambda: finish(result))

        self.after(self.delay() / 10, arrive)

    @staticmethod
    def _moved(site: Site) -> int:
        return site.read if site.role is Role.SECONDARY else site.newest

    # -- between agents ----------------------------------------------------------------------

    def send(self, sender: SimAgent, told: Exchange, finish: Finish) -> None:
        receiver = self.agents[self.other(sender.site)]
        copies = 2 if self.chance.random() < self.loss else 1
        for _ in range(copies):
            if self.chance.random() >= self.loss:
                self.after(self.delay() * copies, lambda: self._arrive(receiver, told, finish))

    def _arrive(self, receiver: SimAgent, told: Exchange, finish: Finish) -> None:
        if not self.link_up:
            return
        if not receiver.up:
            finish(PeerError("connection refused"))
            return
        site = self.sites[receiver.site]
        if site.up:
            receiver.facts.own_state(self.instant, site.state(self.now))
        else:
            receiver.facts.own_failed(self.instant, PeerError("connection refused"))
        receiver.facts.heard(self.instant, told)
        answer = ExchangeAnswer.model_construct(**message(receiver.facts).__dict__)
        self.wake(receiver)
        if self.chance.random() >= self.loss:
            self.after(self.delay(), lambda: finish(answer) if self.link_up else None)

    def ask_peer(self, sender: SimAgent, name: str, words: tuple[Any, ...], finish: Finish) -> None:
        receiver = self.agents[self.other(sender.site)]

        def answer(result: object) -> None:
            if self.chance.random() >= self.loss / 2:
                self.after(self.delay(), lambda: finish(result) if self.link_up else None)

        def arrive() -> None:
            if not self.link_up:
                return
            if not receiver.up:
                finish(PeerError("connection refused"))
                return
            self.spawn(receiver, lambda fiber: REMOTE[name](receiver.host(fiber), *words), answer)

        if self.chance.random() >= self.loss / 2:
            self.after(self.delay(), arrive)

    # -- copy managers --------------------------------------------------------------------------

    def wake(self, agent: SimAgent) -> None:
        """Something was heard: look at once, unless an action is under way."""
        agent.wake += 1
        wake = agent.wake
        self.after(0.0, lambda: self.turn(agent) if agent.wake == wake else None)

    def turn(self, agent: SimAgent) -> None:
        """Do the next action, one after the other as the runner does; rest when there is none."""
        if not agent.up or agent.busy:
            return
        if not agent.queue:
            agent.queue = agent.manager.step(self.instant, agent.facts)
            self.seen(agent)
        if agent.queue:
            self._carry_out(agent, agent.queue.pop(0))
            return
        agent.wake += 1
        wake, life = agent.wake, agent.life

        def awake() -> None:
            if agent.wake == wake and agent.life == life:
                self.turn(agent)

        self.after(max(0.01, agent.manager.rest_seconds()), awake)

    def seen(self, agent: SimAgent) -> None:
        """The manager has looked."""

    def _carry_out(self, agent: SimAgent, action: Action) -> None:
        agent.busy = True
        life, ended = agent.life, [False]
        kind = type(action).__name__
        self.counts[kind] += 1

        def finish(result: object) -> None:
            if ended[0] or agent.life != life or not agent.up:
                return
            ended[0], agent.busy = True, False
            carried_out(agent, action, result, self.instant)
            self.turn(agent)

        wait = action.wait_seconds if isinstance(action, QueryState) else 0.0
        self.after(DEADLINE_SECONDS + wait, lambda: finish(PeerError("no answer in time")))
        if isinstance(action, SavePair):
            saved = agent.save(action.pair)
            self.after(0.001, lambda: finish(saved))
        elif isinstance(action, ExchangeWithPeer):
            self.send(agent, action.message, finish)
        elif isinstance(action, QueryState):
            words = ("db", action.after, wait) if action.after is not None else ("db",)
            self.order(agent, "state", words, {}, finish)
        else:
            given = [getattr(action, name) for name in getattr(action, "__slots__", ())]
            self.order(agent, ORDERS[kind], ("db", *given), {}, finish)
