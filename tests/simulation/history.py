"""One seeded history of two agents, two controllers and a bad network; replay one with

    python -m tests.simulation.history SEED [--mutant NAME]

The copy managers, their facts and the state table are the real ones. A
history has a time of faults, then a time of peace in which everything must
heal by itself. ViolationError: something happened that must never happen.
NoConvergenceError: it did not heal.
"""

from __future__ import annotations

import argparse
import heapq
import random
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from controller.api.models import InitialCopyMethod, JournalState, Role
from controller.errors import PairvolError, PeerError
from hostagent.actions import (
    Action,
    ExchangeWithPeer,
    OrderClearEpoch,
    OrderCopy,
    OrderFence,
    OrderInitialCopy,
    OrderPurge,
    OrderRestore,
    OrderResume,
    OrderResync,
    OrderServe,
    QueryGroup,
    QueryRegions,
    QueryState,
    SavePair,
)
from hostagent.api.models import Exchange, ExchangeAnswer, Pair, PairPolicy, PairState, SiteVolumes, Trigger
from hostagent.config import CopySettings
from hostagent.facts import Facts, Instant
from hostagent.manager import CopyManager
from hostagent.observe import observe
from hostagent.pairs import PairEvent, next_state
from hostagent.primary import message
from tests.simulation.world import EPOCH_NS, Primary, Secondary, ViolationError, wall

FAULT_SECONDS = 25.0
PEACE_SECONDS = 60.0
DEADLINE_SECONDS = 2.0
TICK_SECONDS = 0.25

MakeManager = Callable[[CopySettings], CopyManager]


class NoConvergenceError(AssertionError):
    """The faults ended, and the pair did not come to rest as it should."""


@dataclass
class Agent:
    """One agent: a durable pair, and what a crash forgets."""

    site: str
    pair: Pair
    up: bool = True
    life: int = 0
    facts: Facts = field(init=False)
    manager: CopyManager = field(init=False)
    state: PairState = PairState.SMPL
    queue: list[Action] = field(default_factory=list)
    busy: bool = False
    wake: int = 0


@dataclass
class History:
    seed: int
    make_manager: MakeManager = CopyManager
    now: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.settings = CopySettings()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        identity = str(uuid.UUID(int=self.chance.getrandbits(128)))
        self.primary = Primary("tokyo", "osaka", Role.PRIMARY, identity, acquisition=False)
        self.secondary = Secondary("osaka", "tokyo", Role.SECONDARY, identity)
        pair = self._pair(identity)
        self.agents = {name: Agent(name, pair) for name in ("tokyo", "osaka")}
        self.loss = self.chance.choice([0.0, 0.0, 0.05, 0.3])
        self.slow = self.chance.choice([0.02, 0.02, 0.5, 3.0])
        self.link_up = self.data_up = True
        self.peace = False
        self.load = self.chance.choice([2, 10, 40])

    def _pair(self, identity: str) -> Pair:
        trigger = self.chance.choice([Trigger.NOTIFICATION] * 3 + [Trigger.SCHEDULE, Trigger.FILL])
        policy = PairPolicy(
            trigger=trigger,
            schedule_seconds=4.0,
            restore=self.chance.choice(["at_once", "at_once", "later"]),
            resync=self.chance.choice(["auto", "auto", "auto", "command"]),
        )
        return Pair(
            group="db",
            uuid=identity,
            generation=1,
            primary=SiteVolumes(site="tokyo", volumes=["data"]),
            secondary=SiteVolumes(site="osaka", volumes=["data"]),
            initial_copy=InitialCopyMethod.DIRECT,
            policy=policy,
            created_ns=EPOCH_NS,
        )

    # -- running ------------------------------------------------------------------

    def run(self) -> None:
        """Faults, then peace until everything has come to rest; raises ViolationError or NoConvergenceError."""
        for agent in self.agents.values():
            self.after(self.chance.uniform(0, 5), self._starter(agent))
            agent.up = False
        self.after(self.chance.uniform(0, 4), self._acquire)
        self.after(0, self._tick)
        for _ in range(self.chance.randint(0, 10)):
            self.after(self.chance.uniform(0, FAULT_SECONDS), self.chance.choice(self._faults()))
        self._run_until(FAULT_SECONDS, lambda: False)
        self._make_peace()
        if not self._run_until(FAULT_SECONDS + PEACE_SECONDS, self._at_rest):
            raise NoConvergenceError(self.describe())

    def _run_until(self, end: float, done: Callable[[], bool]) -> bool:
        while self._events and self._events[0][0] <= end:
            self.now, _, event = heapq.heappop(self._events)
            event()
            if done():
                return True
        self.now = end
        return done()

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (self.now + seconds, self._number, event))

    @property
    def instant(self) -> Instant:
        return Instant(self.now, wall(self.now))

    def _tick(self) -> None:
        """The host writes; the volume server flushes; the copy and restore programs work."""
        if not self.peace:
            self.primary.host_writes(self.now, self.chance.randint(0, self.load))
        if self.peace or self.chance.random() < 0.7:
            self.primary.flush()
        self.secondary.work(self.now, self.primary, self.link_up and self.data_up, self.chance)
        if self.primary.role is Role.FENCED and self.primary.newest > self.primary.durable:
            raise ViolationError("a fenced primary took writes")
        self.after(TICK_SECONDS, self._tick)

    def _acquire(self) -> None:
        self.primary.acquisition = True

    # -- faults ---------------------------------------------------------------------

    def _faults(self) -> list[Callable[[], None]]:
        crashes = [lambda agent=agent: self._crash_agent(agent) for agent in self.agents.values()]
        return [
            *crashes,
            self._crash_primary_controller,
            self._crash_secondary_controller,
            self._lose_primary_site,
            self._cut_link,
            self._cut_data_link,
            self.primary.volume_server_crashes,
            self._gap,
            self._take_over,
        ]

    def _outage(self) -> float:
        return self.chance.choice([0.01, 0.5, 3.0, 12.0]) * self.chance.uniform(0.5, 1.5)

    def _crash_agent(self, agent: Agent, seconds: float | None = None) -> None:
        self.counts["agent crashes"] += 1
        agent.up, agent.life = False, agent.life + 1
        self.after(self._outage() if seconds is None else seconds, self._starter(agent))

    def _starter(self, agent: Agent) -> Callable[[], None]:
        return lambda: self._start_agent(agent)

    def _start_agent(self, agent: Agent) -> None:
        if agent.up:
            return
        agent.up, agent.busy, agent.queue, agent.state = True, False, [], PairState.SMPL
        agent.life += 1
        agent.facts = Facts(agent.site, agent.pair, self.instant)
        agent.manager = self.make_manager(self.settings)
        self._turn(agent)

    def _crash_primary_controller(self, seconds: float | None = None) -> None:
        self.counts["controller crashes"] += 1
        self.primary.up = False
        self.after(self._outage() if seconds is None else seconds, lambda: setattr(self.primary, "up", True))

    def _lose_primary_site(self) -> None:
        """Power fails at the primary: all of it is away, and comes back waiting for word."""
        self.counts["sites lost"] += 1
        self.primary.volume_server_crashes()
        self.primary.awaits = self.primary.role is Role.PRIMARY
        away = self._outage()
        self._crash_primary_controller(away)
        self._crash_agent(self.agents["tokyo"], away)
        if self.chance.random() < 0.5:  # and the operator does what there is to do
            self.after(self.chance.uniform(0.1, 2.0), self._take_over)

    def _crash_secondary_controller(self) -> None:
        self.counts["controller crashes"] += 1
        self.secondary.crash()
        self.after(self._outage(), lambda: setattr(self.secondary, "up", True))

    def _cut_link(self) -> None:
        self.counts["link cuts"] += 1
        self.link_up = False
        self.after(self._outage(), lambda: setattr(self, "link_up", True))

    def _cut_data_link(self) -> None:
        self.data_up = False
        self.after(self._outage(), lambda: setattr(self, "data_up", True))

    def _gap(self) -> None:
        self.counts["gaps"] += 1
        self.primary.stop_and_start()

    def _take_over(self) -> None:
        """The secondary's controller takes over; its agent may die before it could keep or tell that."""
        if self.secondary.consistent is None or self.chance.random() < 0.5:
            return
        self.counts["takeovers"] += 1
        generation = self.secondary.generation + 1 if self.secondary.role is Role.SECONDARY else 2
        self.secondary.take_over(generation, self.now)
        if self.chance.random() < 0.5:
            self._crash_agent(self.agents["osaka"])

    def _make_peace(self) -> None:
        self.peace, self.loss, self.slow = True, 0.0, 0.02
        self.link_up = self.data_up = self.primary.up = self.secondary.up = True
        for agent in self.agents.values():
            self._start_agent(agent)

    # -- agents -----------------------------------------------------------------------

    def _turn(self, agent: Agent) -> None:
        """Do the next action, one after the other as the runner does; rest when there is none."""
        if not agent.up or agent.busy:
            return
        if not agent.queue:
            agent.queue = agent.manager.step(self.instant, agent.facts)
            event = observe(agent.facts, self.instant, self.settings).event
            agent.state = next_state(agent.state, event, "db")  # raises for a change that cannot happen
            self.counts[f"seen {event}"] += 1
        if agent.queue:
            self._begin(agent, agent.queue.pop(0))
            return
        agent.wake += 1
        wake, life = agent.wake, agent.life

        def awake() -> None:
            if agent.wake == wake and agent.life == life:
                self._turn(agent)

        self.after(max(0.01, agent.manager.rest_seconds()), awake)

    def _begin(self, agent: Agent, action: Action) -> None:
        agent.busy = True
        life, ended = agent.life, [False]
        self.counts[type(action).__name__] += 1

        def finish(result: object) -> None:
            """Once, and only in the life that asked."""
            if ended[0] or agent.life != life or not agent.up:
                return
            ended[0], agent.busy = True, False
            good = not isinstance(result, PairvolError)
            agent.facts.noted(self.instant, action, result)
            agent.manager.ended(self.instant, action, good)
            self._turn(agent)

        wait = action.wait_seconds if isinstance(action, QueryState) else 0.0
        self.after(DEADLINE_SECONDS + wait, lambda: finish(PeerError("no answer in time")))
        if isinstance(action, SavePair):
            agent.pair = action.pair
            self.after(0.001, lambda: finish(action.pair))
        elif isinstance(action, ExchangeWithPeer):
            self._send(agent, action.message, finish)
        else:
            self._command(agent, action, finish)

    # -- the own controller ---------------------------------------------------------------

    def _command(self, agent: Agent, action: Action, finish: Callable[[object], None]) -> None:
        controller = self.primary if agent.site == "tokyo" else self.secondary
        ends = self.now + (action.wait_seconds if isinstance(action, QueryState) else 0.0)

        def arrive() -> None:
            if not controller.up:
                self.after(0.001, lambda: finish(PeerError("connection refused")))
                return
            waits = isinstance(action, QueryState) and action.after is not None and self.primary.durable <= action.after
            if waits and self.now < ends:
                self.after(TICK_SECONDS, arrive)
                return
            try:
                result = self._apply(agent.site, action)
            except PairvolError as error:
                result = error
            if self.chance.random() >= self.loss / 4:  # else done, but the answer is lost with the process
                self.after(self._delay() / 10, lambda: finish(result))

        self.after(self._delay() / 10, arrive)

    def _apply(self, site: str, action: Action) -> object:
        primary, secondary = self.primary, self.secondary
        match action:
            case QueryGroup():
                return primary.group()
            case OrderPurge(request):
                primary.purge(request, secondary)
            case OrderFence(request):
                primary.fence(request, secondary)
                return primary.group()
            case OrderServe(serve):
                primary.serve(serve, self.now, secondary)
            case OrderResume():
                primary.resume()
            case QueryRegions():
                return primary.regions()
            case OrderClearEpoch(epoch):
                primary.clear_epoch(epoch, secondary)
            case OrderResync(resync):
                secondary.resync(resync)
            case OrderCopy(order):
                secondary.copy(order, self.now)
            case OrderInitialCopy(order):
                secondary.initial_copy(order, primary)
            case OrderRestore(request):
                secondary.restore(request)
        return self._state_of(site)

    def _state_of(self, site: str) -> JournalState:
        return self.primary.state(self.now) if site == "tokyo" else self.secondary.state(self.now)

    # -- the network ------------------------------------------------------------------------

    def _delay(self) -> float:
        return self.chance.expovariate(1 / self.slow)

    def _send(self, sender: Agent, told: Exchange, finish: Callable[[object], None]) -> None:
        receiver = self.agents[sender.facts.peer_site]
        copies = 2 if self.chance.random() < self.loss else 1
        for _ in range(copies):
            if self.chance.random() >= self.loss:
                self.after(self._delay() * copies, lambda: self._arrive(receiver, told, finish))

    def _arrive(self, receiver: Agent, told: Exchange, finish: Callable[[object], None]) -> None:
        if not self.link_up:
            return
        if not receiver.up:
            finish(PeerError("connection refused"))
            return
        controller = self.primary if receiver.site == "tokyo" else self.secondary
        if controller.up:
            receiver.facts.own_state(self.instant, self._state_of(receiver.site))
        else:
            receiver.facts.own_failed(self.instant, PeerError("connection refused"))
        receiver.facts.heard(self.instant, told)
        answer = ExchangeAnswer(**message(receiver.facts).__dict__)
        self._turn(receiver)
        if self.chance.random() >= self.loss and self.link_up:
            self.after(self._delay(), lambda: finish(answer) if self.link_up else None)

    # -- rest ---------------------------------------------------------------------------------

    def _at_rest(self) -> bool:
        primary, secondary = self.primary, self.secondary
        agents = list(self.agents.values())
        events = [observe(agent.facts, self.instant, self.settings).event for agent in agents]
        if secondary.role is Role.TAKEN_OVER:
            known = all(agent.pair.taken_over and agent.pair.generation == secondary.generation for agent in agents)
            return primary.role is Role.FENCED and known and set(events) == {PairEvent.TAKEN_OVER}
        policy = agents[0].pair.policy
        stays = primary.suspended and policy.resync == "command"
        wanted = PairEvent.FULL if stays else PairEvent.PROTECTED
        if primary.epoch is not None and not stays:
            return False
        if policy.trigger is Trigger.FILL:
            return (
                primary.confirmed == secondary.read
                and primary.state(self.now).fill_percent < 50
                and (set(events) == {wanted})
            )
        restored = policy.restore == "later" or secondary.restored == secondary.read
        return (
            secondary.read == primary.durable == primary.newest == primary.confirmed
            and (stays or secondary.copy_gap == primary.gap)
            and not primary.awaits
            and restored
            and set(events) == {wanted}
        )

    def describe(self) -> str:
        seen = {name: observe(agent.facts, self.instant, self.settings) for name, agent in self.agents.items()}
        return (
            f"at {self.now:.1f} s: primary {self.primary.role} newest {self.primary.newest} "
            f"durable {self.primary.durable} confirmed {self.primary.confirmed} suspended {self.primary.suspended}; "
            f"secondary {self.secondary.role} read {self.secondary.read} restored {self.secondary.restored} "
            f"consistent {self.secondary.consistent}; policy {self.agents['tokyo'].pair.policy}; agents: {seen}"
        )


def main() -> None:
    from tests.simulation.mutants import MUTANTS

    parser = argparse.ArgumentParser(description="replay one history")
    parser.add_argument("seed", type=int)
    parser.add_argument("--mutant", choices=sorted(MUTANTS))
    options = parser.parse_args()
    history = History(options.seed, MUTANTS[options.mutant] if options.mutant else CopyManager)
    history.run()
    print(history.describe())
    print(dict(history.counts))


if __name__ == "__main__":
    main()
