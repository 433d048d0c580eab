"""One seeded history with an operator in it; replay one with

    python -m tests.simulation.commands.history SEED [--mutant NAME]

A time of faults: hosts write, a person gives commands to either agent, agents
and controllers die between any two steps of a command, links fail. Then peace:
the person gives the last command again, and from then on types what the
status names, until the pair is protected again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from types import SimpleNamespace
from typing import Any

from controller.api.models import CopyState, Role
from hostagent.api.models import PairPolicy, PairState
from hostagent.commands import takeover
from hostagent.copy_manager.manager import CopyManager
from hostagent.copy_manager.observe import observe
from hostagent.life import steps
from hostagent.pairs import next_state
from hostagent.status import pair_status
from tests.simulation.agent import MakeManager, any_identity, pair_of
from tests.simulation.commands.agents import SimAgent
from tests.simulation.commands.mutants import MUTANTS, mutant
from tests.simulation.commands.orders import Site
from tests.simulation.commands.person import Person
from tests.simulation.replay import replay
from tests.simulation.timeline import NoConvergenceError, ViolationError

FAULT_SECONDS = 40.0
PEACE_SECONDS = 150.0
TICK_SECONDS = 0.25

LOSSES = [0.0, 0.0, 0.05, 0.2]
DELAYS = [0.01, 0.01, 0.1, 0.5]
OUTAGES = [0.1, 1.0, 4.0, 15.0]


class CommandHistory(Person):
    """Two sites, two agents, one person."""

    def __init__(self, seed: int, make_manager: MakeManager = CopyManager) -> None:
        super().__init__(seed, LOSSES, DELAYS, OUTAGES)
        identity = any_identity(self.chance)
        for name, role in (("tokyo", Role.PRIMARY), ("osaka", Role.SECONDARY)):
            self.sites[name] = Site(name, self.other(name), role, identity, truth=self.truth)
        self.sites["tokyo"].acquisition = True
        self.sites["tokyo"].other, self.sites["osaka"].other = self.sites["osaka"], self.sites["tokyo"]
        pair = pair_of(identity, PairPolicy(resync=self.chance.choice(["auto", "auto", "command"])))
        self.agents = {name: SimAgent(self, name, pair, make_manager) for name in self.sites}
        self.load = self.chance.choice([0, 1, 3])

    # -- running ---------------------------------------------------------------------

    def run(self) -> None:
        """Raises ViolationError or NoConvergenceError."""
        with self._clock():
            for name in self.agents:
                self.start_agent(name)
            self.after(0, self._tick)
            at = 6.0
            for _ in range(self.chance.randint(1, 5)):
                self.after(at, self.any_command)
                at += self.chance.uniform(0.5, 20)
            for _ in range(self.chance.randint(0, 4)):
                self.after(self.chance.uniform(3, FAULT_SECONDS), self.chance.choice(self.faults()))
            self.run_until(FAULT_SECONDS)
            self.make_peace()
            if not self.run_until(FAULT_SECONDS + PEACE_SECONDS, self._at_rest):
                raise NoConvergenceError(self.describe())
            self._check_end()
            self.counts["taken back"] += self.truth.taken_back

    @contextmanager
    def _clock(self) -> Iterator[None]:
        """The commands look at the clock of the history."""
        clock = SimpleNamespace(monotonic=lambda: self.now)
        modules: list[Any] = [takeover, steps]
        real = [module.time for module in modules]
        for module in modules:
            module.time = clock
        try:
            yield
        finally:
            for module, time in zip(modules, real, strict=True):
                module.time = time
            for agent in self.agents.values():
                for fiber in agent.fibers:
                    fiber.crash()

    def _tick(self) -> None:
        for site in self.sites.values():
            if (not self.peace or self.now < FAULT_SECONDS + 8) and self.chance.random() < 0.3:
                site.host_writes(self.now, self.chance.randint(0, 3 * self.load), self.chance)
            site.work(self.now, site.other, self.link_up and self.data_up, self.chance)
        self.after(TICK_SECONDS, self._tick)

    def seen(self, agent: SimAgent) -> None:
        event = observe(agent.facts, self.instant, agent.settings).event
        self.counts[f"seen {event}"] += 1

    # -- faults -----------------------------------------------------------------------

    def faults(self) -> list[Callable[[], None]]:
        return [*super().faults(), *[partial(self.crash_site, name, power=True) for name in self.sites]]

    # -- rest -----------------------------------------------------------------------------

    def _at_rest(self) -> bool:
        if self.now < FAULT_SECONDS + 10 or self.giving:
            return False
        sites = list(self.sites.values())
        if {site.role for site in sites} != {Role.PRIMARY, Role.SECONDARY}:
            return False
        primary, secondary = sorted(sites, key=lambda site: site.role is Role.SECONDARY)
        quiet = primary.newest == primary.confirmed == secondary.read == secondary.restored and primary.map is None
        return (
            quiet
            and primary.serves
            and secondary.state_of_copy is CopyState.DONE
            and all(self._state(agent) is PairState.PAIR for agent in self.agents.values())
        )

    def _state(self, agent: SimAgent) -> PairState:
        return next_state(PairState.SMPL, observe(agent.facts, self.instant, agent.settings).event, "db")

    def _check_end(self) -> None:
        one, other = self.sites["tokyo"].content, self.sites["osaka"].content
        if one != other:
            raise ViolationError(f"protected, and the volumes differ: {one}, {other}")
        if not self.truth.lost and one != self.truth.latest:
            raise ViolationError(f"no takeover left writes behind, but {one} is not {self.truth.latest}")

    def describe(self) -> str:
        seen = {
            name: (agent.pair.turns, pair_status(agent.facts, self.instant, agent.settings).line)
            for name, agent in self.agents.items()
        }
        sites = {
            name: (
                f"{site.role} generation {site.generation} newest {site.newest} confirmed {site.confirmed} "
                f"read {site.read} restored {site.restored} copy {site.state_of_copy} {site.copy_epoch} "
                f"pending {site.pending is not None} map {site.map} split {site.split} quiesced {site.quiesced} "
                f"awaits {site.awaits} {site.content}"
            )
            for name, site in self.sites.items()
        }
        return f"at {self.now:.1f} s: {sites}; agents {seen}; last command {self.last}"


def _history(seed: int, name: str | None) -> CommandHistory:
    history = CommandHistory(seed)
    with mutant(name) if name else nullcontext():
        history.run()
    return history


if __name__ == "__main__":
    replay(_history, sorted(MUTANTS))
