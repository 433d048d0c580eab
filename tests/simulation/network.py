"""Calls and messages: what is late, lost, doubled, or refused because somebody is down; and the agents' turns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

from controller.errors import PairvolError, PeerError
from hostagent.api.models import Exchange, ExchangeAnswer
from hostagent.copy_manager.actions import Action, ExchangeWithPeer, QueryState, SavePair
from hostagent.copy_manager.calls import call
from hostagent.copy_manager.primary import message
from tests.simulation.agent import Agent
from tests.simulation.controller import Controller
from tests.simulation.timeline import Timeline

DEADLINE_SECONDS = 2.0
WAIT_STEP_SECONDS = 0.1

Finish = Callable[[object], None]
AgentT = TypeVar("AgentT", bound=Agent)
SiteT = TypeVar("SiteT", bound=Controller)


class _Named:
    """Stands where a client does: a call is its name and its words."""

    def __getattr__(self, name: str) -> Callable[..., tuple[str, tuple[Any, ...]]]:
        return lambda *words: (name, words)


class Network(Timeline, Generic[AgentT, SiteT]):
    """Two sites, a controller and an agent each, and the link between them."""

    def __init__(self, seed: int, losses: list[float], delays: list[float]) -> None:
        super().__init__(seed)
        self.loss, self.slow = self.chance.choice(losses), self.chance.choice(delays)
        self.link_up = self.data_up = True
        self.agents: dict[str, AgentT] = {}
        self.sites: dict[str, SiteT] = {}

    def delay(self) -> float:
        return self.chance.expovariate(1 / self.slow)

    def other(self, site: str) -> str:
        return "osaka" if site == "tokyo" else "tokyo"

    # -- the own controller ---------------------------------------------------------------

    def order(self, agent: AgentT, name: str, words: tuple[Any, ...], named: dict[str, Any], finish: Finish) -> None:
        site = self.sites[agent.site]
        waits = name == "state" and len(words) == 3 and words[1] is not None
        ends = self.now + (words[2] if waits else 0.0)

        def arrive() -> None:
            if not site.up:
                self.after(0.001, lambda: finish(PeerError("connection refused")))
                return
            if waits and self.now < ends and site.arrived <= words[1]:
                self.after(WAIT_STEP_SECONDS, arrive)
                return
            try:
                result: object = getattr(site, f"order_{name}")(self.now, *words, **named)
            except PairvolError as error:
                result = error
            if self.chance.random() >= self.loss / 4:  # else done, but the answer is lost with the process
                self.after(self.delay() / 10, lambda: finish(result))

        self.after(self.delay() / 10, arrive)

    # -- between agents ----------------------------------------------------------------------

    def send(self, sender: AgentT, told: Exchange, finish: Finish) -> None:
        receiver = self.agents[self.other(sender.site)]
        copies = 2 if self.chance.random() < self.loss else 1
        for _ in range(copies):
            if self.chance.random() >= self.loss:
                self.after(self.delay() * copies, lambda: self._arrive(receiver, told, finish))

    def _arrive(self, receiver: AgentT, told: Exchange, finish: Finish) -> None:
        if not self.link_up:
            return
        if not receiver.up:
            finish(PeerError("connection refused"))
            return
        site = self.sites[receiver.site]
        if site.up:
            receiver.facts.own_state(self.instant, site.state(self.now), begun=self.instant)
        else:
            receiver.facts.own_failed(self.instant, PeerError("connection refused"))
        receiver.facts.heard(self.instant, told)
        answer = ExchangeAnswer.model_construct(**message(receiver.facts).__dict__)
        self.wake(receiver)
        if self.chance.random() >= self.loss:
            self.after(self.delay(), lambda: finish(answer) if self.link_up else None)

    # -- copy managers --------------------------------------------------------------------------

    def wake(self, agent: AgentT) -> None:
        """Something was heard: look at once, unless an action is under way."""
        agent.wake += 1
        wake = agent.wake
        self.after(0.0, lambda: self.turn(agent) if agent.wake == wake else None)

    def turn(self, agent: AgentT) -> None:
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

    def seen(self, agent: AgentT) -> None:
        """The manager has looked."""

    def _carry_out(self, agent: AgentT, action: Action) -> None:
        agent.busy = True
        life, ended, begun = agent.life, [False], self.instant
        kind = type(action).__name__
        self.counts[kind] += 1

        def finish(result: object) -> None:
            """Once, and only in the life that asked."""
            if ended[0] or agent.life != life or not agent.up:
                return
            ended[0], agent.busy = True, False
            agent.facts.noted(self.instant, action, result, begun)
            agent.manager.ended(self.instant, action, not isinstance(result, PairvolError))
            self.turn(agent)

        wait = action.wait_seconds if isinstance(action, QueryState) else 0.0
        self.after(DEADLINE_SECONDS + wait, lambda: finish(PeerError("no answer in time")))
        if isinstance(action, SavePair):
            saved = agent.save(action.pair)
            self.after(0.001, lambda: finish(saved))
        elif isinstance(action, ExchangeWithPeer):
            self.send(agent, action.message, finish)
        else:
            client: Any = _Named()
            name, words = cast("tuple[str, tuple[Any, ...]]", call(action, "db", client, client, agent.save))
            self.order(agent, name, words, {}, finish)
