"""`make crash SUITE=programs`: controllers killed at each named step of what they do.

Copy, restore, purge, split, resync; takeover, demotion, promotion, and the
return of the old primary that is kept.

On the side where the step is, or on both: then the other controller dies at
that moment too. The agents live, and no command is given again but one that
was refused: the pair must find back to PAIR, with equal volumes that hold
every write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from controller.errors import PairvolError
from hostagent.api.models import PairResync, PairSplit, PairState
from hostagent.cli.demo.sites import Daemon
from hostagent.client import Agent
from tests.crash.results import Controls, Row, wanted
from tests.crash.transitions.sites import AGAIN_SECONDS, MortalSite, MortalSites, Pair, start, taken
from tests.crash.transitions.suite import two_sites
from tests.support.mortal import MUTANTS, PROGRAM_STEPS
from tests.support.waiting import wait_until

OF_THE_PRIMARY: Final = (
    "purge: noted",
    "purge: confirmed",
    "split: suspended",
    "resync: resume told",
    "resync: resumed",
    "resync: epoch cleared",
    "takeover: writes refused",
    "takeover: old primary fenced",
    "demote: ended",
    "demote: judged",
    "demote: tail kept",
    "demote: fresh journal",
    "take back: marked",
    "take back: resumed",
)  # as the pair stands when its command is given
USUAL: Final = (1, 2)
CONTROLS: Final = (1, 2, 3, 1, 2, 3)  # what is at one time a marker alone is a write at another
OFTEN: Final = {"copy of volumes: progress": (1, 2, 3)}
ONCE: Final = (  # in one activity
    "copy of volumes: window",
    "copy of volumes: complete",
    "resync: safe point open",
    "resync: own map forgotten",
    "resync: safe point dropped",
    "resync: resume told",
    "resync: resumed",
    "resync: epoch cleared",
    "split: suspended",
)
OF_ROLES: Final = ("takeover", "demote", "promote", "take back")
OCCURRENCES: Final = OFTEN | {
    step: (1,) for step in PROGRAM_STEPS if step in ONCE or step.partition(":")[0] in OF_ROLES
}


@dataclass
class Work:
    """What goes on while a controller is to die: whoever is found dead is started again."""

    pair: Pair
    victim: MortalSite
    other: MortalSite
    both: bool
    step: str  # which time, and its name
    writable: bool  # volumes that hosts wrote to have no safe point
    died: bool = False
    may_die: bool = False

    def armed(self) -> None:
        """From now on the victim dies there."""
        self.may_die = True
        self.victim.die_at(Daemon.CONTROLLER, self.step)

    def tend(self) -> None:
        if self.died or not self.may_die or self.victim.died(Daemon.CONTROLLER) is None:
            return
        self.died = True
        self.victim.live_on(Daemon.CONTROLLER)
        if self.both:
            self.other.kill(Daemon.CONTROLLER)
        wait_until(lambda: self.victim.daemon_process(Daemon.CONTROLLER) is None, what="the controller to be dead")
        for site in (self.victim, self.other):
            start(site)

    def give(self, command: Callable[[], object]) -> None:
        def refused(error: PairvolError) -> bool:
            self.tend()
            return False

        taken(command, refused)

    def heal(self) -> None:
        """Nothing more is done than waiting."""

        def healed() -> bool:
            self.tend()
            try:
                return all(agent.pair_status(self.pair.name).state is PairState.PAIR for agent in self.agents)
            except PairvolError:
                return False

        wait_until(healed, AGAIN_SECONDS, f"{self.pair.name} to be PAIR", interval=0.1)
        self.pair.in_step(self.tend)
        self.tend()  # it may be a step that comes last of all

    @property
    def agents(self) -> list[Agent]:
        return list(self.pair.agents.values())


def follow(work: Work) -> None:
    """Writes and a marker are copied, restored and purged."""
    pair = work.pair
    for _ in range(2):
        pair.write()
        work.give(lambda: pair.agent(pair.primary).put_marker(pair.name, f"marker{pair.number}"))
        work.heal()


def fill(work: Work) -> None:
    """More than the secondary's journal holds, so that space is used again."""
    for _ in range(3):
        work.pair.flood()
        work.heal()


def resync(work: Work) -> None:
    """Split, writes at both sites, resync: suspension, changed regions, safe point and the return to journals."""
    pair = work.pair
    pair.write()
    work.heal()
    agent = pair.agent(pair.primary)
    work.give(lambda: agent.split_pair(pair.name, PairSplit(writable=work.writable)))
    pair.wait(PairState.PSUS)
    pair.write()
    if work.writable:
        pair.write(pair.secondary, kept=False)
    work.give(lambda: agent.resync_pair(pair.name, PairResync(force=work.writable)))
    work.heal()


def hand(work: Work) -> None:
    """A planned takeover: the pair runs in the other direction, and nothing is lost."""
    pair = work.pair
    pair.write()
    work.heal()
    goal, agent = pair.secondary.name, pair.agent(pair.secondary)

    def command() -> None:
        report = agent.take_over(pair.name, to=goal)
        if not report.reversed and not report.already:  # the old primary died before it said that it is fenced
            agent.resync_pair(pair.name, PairResync(swap=True))  # as the status says

    work.give(command)
    pair.turn()
    work.heal()
    pair.write()
    work.heal()


def take_back(work: Work) -> None:
    """A takeover while writes of the primary were in no journal; then the primary is kept, and has them."""
    pair = work.pair
    pair.write()
    work.heal()
    here, there = pair.agent(pair.primary), pair.agent(pair.secondary)
    work.give(lambda: here.split_pair(pair.name))
    pair.write()
    goal = pair.secondary.name
    work.give(lambda: there.take_over(pair.name, force=True, to=goal))
    pair.wait(PairState.SSWS)
    pair.write(pair.secondary, kept=False)
    work.armed()
    work.give(lambda: here.resync_pair(pair.name, PairResync(force=True)))
    work.heal()


ACTIVITIES: Final = {
    **dict.fromkeys(("takeover", "demote", "promote"), hand),
    "take back": take_back,
    "purge: reclaimed": fill,
    "resync": resync,
    "copy of volumes": resync,
    "split": resync,
}


def run(seed: int, count: int, directory: Path, controls: Controls = None) -> Row:
    """Every step, on one side and on both, until `count` deaths; no chance is in it."""
    row = Row("programs", seed)
    points = [
        (step, number, both)
        for step in PROGRAM_STEPS
        for number in OCCURRENCES.get(step, USUAL)
        for both in (False, True)
    ]
    with two_sites(directory / "s") as sites:
        kill_at(sites, points[:count], row)
    for name in wanted(MUTANTS, controls):
        found = Row("programs control", seed)
        with two_sites(directory / name[:5], name) as sites:
            kill_at(sites, [(MUTANTS[name].dies_at, number, False) for number in CONTROLS], found)
        row.control(name, found.lost > 0)
    return row


def kill_at(sites: MortalSites, points: Iterable[tuple[str, int, bool]], row: Row) -> None:
    """For each (step, which time, both sides): work until the controller whose step it is died there, and heal."""
    with closing(Pair(sites)) as pair:
        pair.agent(pair.primary).create_pair(pair.order())
        pair.wait(PairState.PAIR)
        for step, number, both in points:
            names = (pair.primary.name, pair.secondary.name)
            here, there = map(pair.site, names if step in OF_THE_PRIMARY else reversed(names))
            work = Work(pair, here, there, both, f"{number} {step}", writable=step == "resync: own map forgotten")
            activity = ACTIVITIES.get(step) or ACTIVITIES.get(step.partition(":")[0]) or follow
            row.attempted += 1
            if activity is not take_back:
                work.armed()
            try:
                activity(work)
            except (AssertionError, PairvolError) as error:
                row.lose(f"{here.name} killed at {step}, {number}, both {both}: {error}")
                return
            finally:
                here.live_on(Daemon.CONTROLLER)
                row.reached += work.died
            print(f"{step} {number} {'both' if both else here.name}: {'died' if work.died else 'not met'}", flush=True)
