"""One seeded history of two agents, two controllers and a bad network; replay one with

    python -m tests.simulation.history SEED [--mutant NAME]

The copy managers, their facts and the state table are the real ones. A
history of an even seed has a time of faults, then a time of peace in which
everything must heal by itself; one of an odd seed has faults without limit to
its very end, disk errors too, and only what must never happen is looked for.
ViolationError: something happened that must never happen. NoConvergenceError:
it did not heal.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from controller.api.models import Role
from controller.journal.pointers import Pointer
from hostagent.api.models import PairPolicy, Trigger
from hostagent.copy_manager.lag import Lag, tells_all
from hostagent.copy_manager.manager import CopyManager
from hostagent.copy_manager.observe import observe
from hostagent.pairs import PairEvent, next_state
from tests.simulation.agent import Agent, MakeManager, any_identity, pair_of
from tests.simulation.faults import Faults
from tests.simulation.mutants import MUTANTS
from tests.simulation.primary import Primary
from tests.simulation.replay import replay
from tests.simulation.secondary import Secondary
from tests.simulation.timeline import NoConvergenceError, ViolationError

FAULT_SECONDS = 25.0
PEACE_SECONDS = 60.0
TICK_SECONDS = 0.25
LOSSES = [0.0, 0.0, 0.05, 0.3]
DELAYS = [0.02, 0.02, 0.5, 3.0]
OUTAGES = [0.01, 0.5, 3.0, 12.0]
CLOCK_STEPS_NS = [365 * 86_400 * 10**9, -3_600 * 10**9]
LATE_SECONDS = 8.0  # how old a message may be from which an agent says how far behind a site is


class History(Faults[Agent, Primary | Secondary]):
    """Two sites, two agents, nobody else."""

    def __init__(self, seed: int, make_manager: MakeManager = CopyManager) -> None:
        super().__init__(seed, LOSSES, DELAYS, OUTAGES)
        identity = any_identity(self.chance)
        self.primary = Primary("tokyo", "osaka", Role.PRIMARY, identity, acquisition=False)
        self.secondary = Secondary("osaka", "tokyo", Role.SECONDARY, identity)
        self.primary.other, self.secondary.other = self.secondary, self.primary
        self.sites = {"tokyo": self.primary, "osaka": self.secondary}
        pair = pair_of(identity, self._policy())
        self.agents = {name: Agent(name, pair, self.instant, make_manager) for name in self.sites}
        self.load = self.chance.choice([2, 10, 40])
        self.endless = seed % 2 == 1
        self.pause = self.chance.choice([0.3, 2.0, 6.0])  # between two faults of an endless one
        self._missing: dict[str, tuple[tuple[int, int], float, Lag]] = {}  # by agent: what is missing, since when

    def _policy(self) -> PairPolicy:
        return PairPolicy(
            trigger=self.chance.choice([Trigger.NOTIFICATION] * 3 + [Trigger.SCHEDULE, Trigger.FILL]),
            schedule_seconds=4.0,
            restore=self.chance.choice(["at_once", "at_once", "later"]),
            resync=self.chance.choice(["auto", "auto", "auto", "command"]),
        )

    # -- running ------------------------------------------------------------------

    def run(self) -> None:
        """Faults, then peace until everything has come to rest; raises ViolationError or NoConvergenceError.

        An endless history has faults to its end: nothing need heal in it, and nothing may be lost.
        """
        for name in self.agents:
            self.after(self.chance.uniform(0, 5), partial(self.start_agent, name))
        self.after(self.chance.uniform(0, 4), self._acquire)
        self.after(0, self._tick)
        if self.endless:
            self._fault_after_fault()
            self.run_until(FAULT_SECONDS + PEACE_SECONDS)
            return
        for _ in range(self.chance.randint(0, 10)):
            self.after(self.chance.uniform(0, FAULT_SECONDS), self.chance.choice(self.faults()))
        self.run_until(FAULT_SECONDS)
        self.make_peace()
        if not self.run_until(FAULT_SECONDS + PEACE_SECONDS, self._at_rest):
            raise NoConvergenceError(self.describe())

    def _fault_after_fault(self) -> None:
        def next_one() -> None:
            self.chance.choice([*self.faults(), self._disk_refuses])()
            self._fault_after_fault()

        self.after(self.chance.expovariate(1 / self.pause), next_one)

    def _tick(self) -> None:
        """The host writes; the volume server flushes; the copy and restore programs work."""
        if not self.peace:
            self.primary.host_writes(self.now, self.chance.randint(0, self.load))
        if self.peace or self.chance.random() < 0.7:
            self.primary.flush()
        self.secondary.work(self.now, self.link_up and self.data_up, self.chance)
        if self.primary.role is Role.FENCED and self.primary.newest > self.primary.durable:
            raise ViolationError("a fenced primary took writes")
        self.after(TICK_SECONDS, self._tick)

    def _acquire(self) -> None:
        self.primary.acquisition = True

    def seen(self, agent: Agent) -> None:
        event = observe(agent.facts, self.instant, agent.settings).event
        agent.state = next_state(agent.state, event, "db")  # raises for a change that cannot happen
        self.counts[f"seen {event}"] += 1
        self._hold_lag(agent)

    def _hold_lag(self, agent: Agent) -> None:
        """What an agent has seen missing for a while is never called younger, whatever was done to the clocks."""
        facts, behind = agent.facts, agent.facts.behind
        primary, secondary, heard = facts.primary.state, facts.secondary.state, facts.primary.heard
        if behind is None or primary is None or secondary is None or heard is None:
            return
        place = (agent.life, facts.secondary.position(Pointer.ALREADY_READ).sequence)
        known = self._missing.get(agent.site)
        if not behind.journals or known is None or known[0] != place:
            self._missing[agent.site] = (place, self.now, behind)
            return
        self._missing[agent.site] = (place, known[1], behind)
        follows = primary.role is Role.PRIMARY and secondary.role is Role.SECONDARY and self.now - heard.seconds < 1.0
        if behind is known[2] or not follows or not tells_all(primary):
            return
        if behind.seconds < self.now - known[1] - LATE_SECONDS:
            raise ViolationError(
                f"journals are missing for {self.now - known[1]:.1f} s, told are {behind.seconds:.1f} s"
            )
        self.counts["lags held"] += self.now - known[1] > LATE_SECONDS

    # -- faults ---------------------------------------------------------------------

    def faults(self) -> list[Callable[[], None]]:
        return [
            *super().faults(),
            self._lose_primary_site,
            self.primary.volume_server_crashes,
            self._gap,
            self._take_over,
            self._set_clock,
        ]

    def _disk_refuses(self) -> None:
        """EIO of a journal: the primary gives its journal up, the secondary stops where it is until it starts anew."""
        refuses = self.chance.choice([self.primary.disk_refuses, self.secondary.disk_refuses])
        if refuses():
            self.happened("disk errors")

    def _set_clock(self) -> None:
        """Somebody sets the clock of a site: a year ahead, or an hour back."""
        self.happened("clock steps")
        site = self.sites[self.chance.choice(sorted(self.sites))]
        site.step_ns += self.chance.choice(CLOCK_STEPS_NS)

    def _lose_primary_site(self) -> None:
        """Power fails at the primary: all of it is away, and comes back waiting for word."""
        self.crash_site("tokyo", power=True)
        if self.chance.random() < 0.5:  # and the operator does what there is to do
            self.after(self.chance.uniform(0.1, 2.0), self._take_over)

    def _gap(self) -> None:
        self.happened("gaps")
        self.primary.stop_and_start()

    def _take_over(self) -> None:
        """The secondary's controller takes over; its agent may die before it could keep or tell that."""
        if self.secondary.consistent is None or self.chance.random() < 0.5:
            return
        self.happened("takeovers")
        generation = self.secondary.generation + 1 if self.secondary.role is Role.SECONDARY else 2
        self.secondary.take_over(generation, self.now)
        if self.chance.random() < 0.5:
            self.crash_agent("osaka")

    # -- rest ---------------------------------------------------------------------------------

    def _at_rest(self) -> bool:
        primary, secondary = self.primary, self.secondary
        agents = list(self.agents.values())
        events = [observe(agent.facts, self.instant, agent.settings).event for agent in agents]
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
        seen = {name: observe(agent.facts, self.instant, agent.settings) for name, agent in self.agents.items()}
        return (
            f"at {self.now:.1f} s: primary {self.primary.role} newest {self.primary.newest} "
            f"durable {self.primary.durable} confirmed {self.primary.confirmed} suspended {self.primary.suspended}; "
            f"secondary {self.secondary.role} read {self.secondary.read} restored {self.secondary.restored} "
            f"consistent {self.secondary.consistent}; policy {self.agents['tokyo'].pair.policy}; agents: {seen}"
        )


def _history(seed: int, mutant: str | None) -> History:
    history = History(seed, MUTANTS[mutant] if mutant else CopyManager)
    history.run()
    return history


if __name__ == "__main__":
    replay(_history, sorted(MUTANTS))
