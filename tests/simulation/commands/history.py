"""One seeded history with an operator in it; replay one with

    python -m tests.simulation.commands.history SEED [--mutant NAME]

A time of faults: hosts write, a person gives commands to either agent, agents
and controllers die between any two steps of a command, links fail. Then peace:
the person gives the last command again, and from then on types what the
status names, until the pair is protected again.
"""

from __future__ import annotations

import argparse
import shlex
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

from controller.api.models import CopyState, InitialCopyMethod, Role
from controller.errors import PairvolError
from hostagent import takeover
from hostagent.api.models import (
    Pair,
    PairPolicy,
    PairResync,
    PairSplit,
    PairState,
    SiteVolumes,
    TakeoverOrder,
    TakeoverReport,
)
from hostagent.config import CopySettings
from hostagent.life import commands
from hostagent.manager import CopyManager
from hostagent.observe import observe
from hostagent.pairs import next_state
from hostagent.status import pair_status
from tests.simulation.commands.agents import SimAgent
from tests.simulation.commands.fibers import Fiber
from tests.simulation.commands.mutants import mutant
from tests.simulation.commands.network import Network
from tests.simulation.commands.orders import Site
from tests.simulation.commands.site import Truth
from tests.simulation.history import NoConvergenceError
from tests.simulation.world import EPOCH_NS, ViolationError

FAULT_SECONDS = 40.0
PEACE_SECONDS = 150.0
OPERATOR_SECONDS = 4.0  # between two looks at the status
TICK_SECONDS = 0.25

MakeManager = Callable[[CopySettings], CopyManager]


class CommandHistory(Network):
    """Two sites, two agents, one person."""

    def __init__(self, seed: int, make_manager: MakeManager = CopyManager) -> None:
        super().__init__(seed)
        self.make_manager = make_manager
        self.truth = Truth()
        identity = str(uuid.UUID(int=self.chance.getrandbits(128)))
        for name, role in (("tokyo", Role.PRIMARY), ("osaka", Role.SECONDARY)):
            self.sites[name] = Site(name, self.other(name), identity, self.truth, role)
        self.sites["tokyo"].acquisition = True
        self.sites["tokyo"].other, self.sites["osaka"].other = self.sites["osaka"], self.sites["tokyo"]
        pair = Pair(
            group="db",
            uuid=identity,
            generation=1,
            primary=SiteVolumes(site="tokyo", volumes=["data"]),
            secondary=SiteVolumes(site="osaka", volumes=["data"]),
            initial_copy=InitialCopyMethod.DIRECT,
            policy=PairPolicy(resync=self.chance.choice(["auto", "auto", "command"])),
            created_ns=EPOCH_NS,
        )
        self.agents = {name: SimAgent(self, name, pair) for name in self.sites}
        self.peace = False
        self.load = self.chance.choice([0, 1, 3])
        self.last: tuple[str, str] | None = None
        self.deaths: dict[Fiber, list[int]] = {}  # of a command's fiber: steps until somebody dies
        self.giving = False

    # -- running ---------------------------------------------------------------------

    def run(self) -> None:
        """Raises ViolationError or NoConvergenceError."""
        with self._clock():
            for agent in self.agents.values():
                self._start_agent(agent)
            self.after(0, self._tick)
            at = 6.0
            for _ in range(self.chance.randint(1, 5)):
                self.after(at, self._command)
                at += self.chance.uniform(0.5, 20)
            for _ in range(self.chance.randint(0, 4)):
                self.after(self.chance.uniform(3, FAULT_SECONDS), self.chance.choice(self._faults()))
            self.run_until(FAULT_SECONDS)
            self._make_peace()
            if not self.run_until(FAULT_SECONDS + PEACE_SECONDS, self._at_rest):
                raise NoConvergenceError(self.describe())
            self._check_end()

    @contextmanager
    def _clock(self) -> Iterator[None]:
        """The commands look at the clock of the history."""
        clock = SimpleNamespace(monotonic=lambda: self.now)
        modules: list[Any] = [takeover, commands]
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

    def _faults(self) -> list[Callable[[], None]]:
        names = list(self.sites)
        return [
            *[lambda name=name: self._crash_agent(name) for name in names],
            *[lambda name=name: self._crash_site(name, power=False) for name in names],
            *[lambda name=name: self._crash_site(name, power=True) for name in names],
            self._cut_link,
            self._cut_data,
        ]

    def _outage(self) -> float:
        return self.chance.choice([0.1, 1.0, 4.0, 15.0]) * self.chance.uniform(0.5, 1.5)

    def _crash_agent(self, name: str, seconds: float | None = None) -> None:
        agent = self.agents[name]
        self.counts["agent crashes"] += 1
        agent.up, agent.life = False, agent.life + 1
        for fiber in agent.fibers:
            fiber.crash()
        agent.fibers = []
        self.after(self._outage() if seconds is None else seconds, lambda: self._start_agent(agent))

    def _start_agent(self, agent: SimAgent) -> None:
        if not agent.up:
            agent.begin(self.instant)
            agent.up = True
            self.turn(agent)

    def _crash_site(self, name: str, *, power: bool) -> None:
        site, away = self.sites[name], self._outage()
        self.counts["sites lost" if power else "controller crashes"] += 1
        site.crash(self.now, power=power)
        self.after(away, lambda: setattr(site, "up", True))
        if power:
            self._crash_agent(name, away)

    def _cut_link(self) -> None:
        self.counts["link cuts"] += 1
        self.link_up = self.data_up = False
        self.after(self._outage(), lambda: self.__dict__.update(link_up=True, data_up=True))

    def _cut_data(self) -> None:
        self.data_up = False
        self.after(self._outage(), lambda: setattr(self, "data_up", True))

    def stepped(self, fiber: Fiber) -> None:
        """Somebody may die between two steps of a command."""
        left = next((death for each, death in self.deaths.items() if each is fiber), None)
        if left is None or not left:
            return
        left[0] -= 1
        if left[0] <= 0:
            left.clear()
            name = self.chance.choice(list(self.sites))
            self.counts["deaths in commands"] += 1
            if self.chance.random() < 0.7:
                self.after(0.0, lambda: self._crash_agent(name))
            else:
                self.after(0.0, lambda: self._crash_site(name, power=False))

    # -- the person ---------------------------------------------------------------------

    def _command(self) -> None:
        """Some command at either agent, as long as faults last."""
        if self.peace:
            return
        primary, secondary = self._places()
        force = " --force" if self.chance.random() < 0.2 else ""
        line = self.chance.choice(
            [
                "pair split db",
                "pair split db --rw",
                "pair resync db",
                "pair resync db",
                f"pair resync db --swap{force}",
                f"pair takeover db --to {secondary}{force}",
                f"pair takeover db --to {secondary}{force}",
                f"pair takeover db --to {primary}",
            ]
        )
        self._give(self.chance.choice(list(self.agents)), line, deadly=self.chance.random() < 0.6)

    def _places(self) -> tuple[str, str]:
        pair = max((agent.pair for agent in self.agents.values()), key=lambda pair: pair.turns)
        return pair.primary.site, pair.secondary.site

    def _give(self, name: str, line: str, *, deadly: bool = False) -> None:
        agent = self.agents[name]
        self.last = (name, line)
        if not agent.up:
            return
        words = shlex.split(line.removeprefix("pairvol "))
        self.counts[f"given {' '.join(words[:2])}{' --swap' if '--swap' in words else ''}"] += 1
        self.truth.force_given |= "--force" in words
        self.giving = True

        def ended(result: object) -> None:
            self.giving = False
            if isinstance(result, TakeoverReport) and result.kind == "planned":
                self.counts["planned"] += 1
                if not self.sites[result_site(result)].took_all:
                    raise ViolationError(f"a planned takeover lost writes: {result}")
            self.counts["refused" if isinstance(result, PairvolError) else "done"] += 1

        def result_site(report: TakeoverReport) -> str:
            return next(site for site, gen in self._generations().items() if gen == report.generation)

        fiber = self.spawn(agent, lambda fiber: _carry_out(agent.host(fiber), words), ended)
        if deadly:
            self.deaths = {fiber: [self.chance.randint(1, 12)]}

    def _generations(self) -> dict[str, int]:
        return {site: generation for generation, site in self.truth.writers.items()} | {
            name: site.generation for name, site in self.sites.items() if site.role is not Role.SECONDARY
        }

    def _make_peace(self) -> None:
        self.peace, self.loss, self.slow = True, 0.0, 0.01
        self.link_up = self.data_up = True
        self.deaths = {}
        for site in self.sites.values():
            site.up = True
        for agent in self.agents.values():
            self._start_agent(agent)
        if self.last is not None:
            name, line = self.last
            self.after(2.0, lambda: self._give(name, line))
        self.after(8.0, self._follow_the_status)

    def _follow_the_status(self) -> None:
        """A person who reads one status and types what it names."""
        name = self.chance.choice(list(self.agents))
        agent = self.agents[name]
        status = pair_status(agent.facts, self.instant, agent.settings)
        next_command = status.next_command or ""
        typed = [part for part in (next_command, *next_command.split('"')) if part.startswith("pairvol ")]
        if typed and " ".join(typed[0].split()[1:3]) in ("pair resync", "pair takeover", "journal start"):
            self.counts[f"hint {status.state} {' '.join(typed[0].split()[1:])}"] += 1
            self._give(name, typed[0])
        self.after(OPERATOR_SECONDS, self._follow_the_status)

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


def _carry_out(host: Any, words: list[str]) -> object:
    """What the command line sends to the agent."""
    force, to = "--force" in words, words[words.index("--to") + 1] if "--to" in words else None
    match words[:2]:
        case ["pair", "split"]:
            return commands.split(host, "db", PairSplit(writable="--rw" in words, force=force))
        case ["pair", "resync"]:
            return commands.resync(host, "db", PairResync(swap="--swap" in words, force=force))
        case ["pair", "takeover"]:
            return takeover.take_over(host, "db", TakeoverOrder(force=force, to=to))
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description="replay one history")
    parser.add_argument("seed", type=int)
    parser.add_argument("--mutant")
    options = parser.parse_args()
    history = CommandHistory(options.seed)
    with mutant(options.mutant) if options.mutant else nullcontext():
        history.run()
    print(history.describe())
    print(dict(history.counts))


if __name__ == "__main__":
    main()
