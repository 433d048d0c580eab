"""The person: gives some command while faults last, and types what the status names when they are over."""

from __future__ import annotations

import shlex
from typing import Any

from controller.api.models import Role
from controller.errors import PairvolError
from hostagent.api.models import PairResync, PairSplit, TakeoverOrder, TakeoverReport
from hostagent.commands import takeover
from hostagent.life import commands
from hostagent.status import pair_status
from tests.simulation.commands.calls import Calls
from tests.simulation.commands.fibers import Fiber
from tests.simulation.commands.site import Truth
from tests.simulation.timeline import ViolationError

OPERATOR_SECONDS = 4.0  # between two looks at the status
KEEPS = 0.7  # how likely a person who is told to swap keeps the old primary instead


class Person(Calls):
    """One person at the command lines of both sites."""

    def __init__(self, seed: int, losses: list[float], delays: list[float], outages: list[float]) -> None:
        super().__init__(seed, losses, delays, outages)
        self.truth = Truth()
        self.last: tuple[str, str] | None = None
        self.deaths: dict[Fiber, list[int]] = {}  # of a command's fiber: steps until somebody dies
        self.giving = False

    def any_command(self) -> None:
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
                f"pair resync db{force}",
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
                site = result_site(result)
                if site is not None and not self.sites[site].took_all:
                    raise ViolationError(f"a planned takeover lost writes: {result}")
            self.counts["refused" if isinstance(result, PairvolError) else "done"] += 1

        def result_site(report: TakeoverReport) -> str | None:
            """Who took over; None when the pair has gone on to a higher generation before the answer came."""
            return next((site for site, gen in self._generations().items() if gen == report.generation), None)

        fiber = self.spawn(agent, lambda fiber: _carry_out(agent.host(fiber), words), ended)
        if deadly:
            self.deaths = {fiber: [self.chance.randint(1, 12)]}

    def _generations(self) -> dict[str, int]:
        return {site: generation for generation, site in self.truth.writers.items()} | {
            name: site.generation for name, site in self.sites.items() if site.role is not Role.SECONDARY
        }

    def make_peace(self) -> None:
        super().make_peace()
        self.deaths = {}
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
            keeps = "--swap" in typed[0] and self.chance.random() < KEEPS
            self._give(name, "pair resync db --force" if keeps else typed[0])
        self.after(OPERATOR_SECONDS, self._follow_the_status)

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
                self.after(0.0, lambda: self.crash_agent(name))
            else:
                self.after(0.0, lambda: self.crash_site(name))


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
