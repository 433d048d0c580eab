"""`make crash SUITE=transitions`: the agents' commands, each cut by a death at each of its steps and given again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from controller.errors import PairvolError
from hostagent.api.models import PairState
from tests.crash.results import Controls, Row, wanted
from tests.crash.transitions.cycles import CIRCLES, Turn
from tests.crash.transitions.sites import MortalSites, Pair

STEPS_MAX: Final = 40
WHO: Final = {  # the command is given to the secondary's host; the agent of the other host dies
    (False, False): "at the primary, which dies",
    (True, False): "at the secondary, which dies",
    (False, True): "at the primary, the secondary dies",
    (True, True): "at the secondary, the primary dies",
}
MUTANTS: Final = {"forgets": "make", "forgets-first": "make"}  # and the circle that shows it


def run(seed: int, count: int, directory: Path, controls: Controls = None) -> Row:
    """All circles, with deaths at every step of either agent, until `count` deaths; no chance is in it.

    Attempted is one more step of every command than it has: that one, not reached, is how its end is known.
    """
    row = Row("transitions", seed)
    with two_sites(directory / "s") as sites:
        for name in CIRCLES:
            for who in WHO:
                circle(sites, name, range(1, STEPS_MAX), row, who=who, most=count)
    for name in wanted(MUTANTS, controls):
        found = Row("transitions control", seed)
        with two_sites(directory / name[-5:], name) as sites:
            circle(sites, MUTANTS[name], range(1, STEPS_MAX), found, who=(False, False), most=count)
        row.control(name, found.lost > 0)
    return row


def circle(sites: MortalSites, name: str, steps: Iterable[int], row: Row, *, who: tuple[bool, bool], most: int) -> None:
    """Turn a circle until its commands come through both ways; at the first failure it ends."""
    with closing(Pair(sites)) as pair:
        if name != "make":
            pair.agent(pair.primary).create_pair(pair.order())
            pair.wait(PairState.PAIR)
        whole = 0
        for step in steps:
            if row.reached >= most:
                return
            turn = Turn(pair, step, *who, [])
            try:
                CIRCLES[name](turn)
            except (AssertionError, PairvolError) as error:
                row.lose(f"{name}, step {step}, {WHO[who]}, {turn.deaths}: {error}")
                return
            finally:
                row.attempted += turn.ordered
                row.reached += len(turn.deaths)
            print(f"{name} {step} {WHO[who]}: {turn.deaths}, {turn.refused} refusals", flush=True)
            whole = 0 if turn.deaths else whole + 1
            if whole == 2:  # the two directions differ by a step or two
                return


@contextmanager
def two_sites(directory: Path, mutant: str = "") -> Iterator[MortalSites]:
    """Two started sites of which nothing is left at the end."""
    sites = MortalSites(directory, mutant)
    try:
        sites.start()
        yield sites
    finally:
        sites.stop()
