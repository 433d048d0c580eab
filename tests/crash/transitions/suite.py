"""`make crash SUITE=transitions`: the agents' commands, each cut by a death at each of its steps and given again."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from controller.errors import PairvolError
from hostagent.api.models import PairState
from tests.crash.results import Controls, Row, wanted
from tests.crash.transitions import cycles, living
from tests.crash.transitions.cycles import Turn
from tests.crash.transitions.sites import MortalSites, Pair

STEPS_MAX: Final = 40
CIRCLES: Final = cycles.CIRCLES | living.CIRCLES
OFTEN: Final = {"members": 4, "sizes": 2, "compare": 1, "mark": 1, "order": 1, "tune": 1}  # steps that most ways have
WHO: Final = {  # the command is given to the secondary's host; the agent of the other host dies
    (False, False): "at the primary, which dies",
    (True, False): "at the secondary, which dies",
    (False, True): "at the primary, the secondary dies",
    (True, True): "at the secondary, the primary dies",
}
MUTANTS: Final = {  # and the circle that shows it
    "forgets": "make",
    "forgets-first": "make",
    "denies": "members",
    "moves-one": "sizes",
    "marks-twice": "mark",
    "cancels-nothing": "compare",
}


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
            _make(pair)
        whole = 0
        for step in steps:
            if row.reached >= most:
                return
            deaths = _turned(pair, name, step, who, row)
            if deaths is None:
                return
            whole = 0 if deaths else whole + 1
            if whole == 2:  # the two directions differ by a step or two
                return


def spread(seed: int, most: int) -> list[tuple[str, int, tuple[bool, bool]]]:
    """Turns of some circles of a living pair; which, at what step, and who, is chance."""
    chance = random.Random(seed)
    names = chance.sample(list(living.CIRCLES), most)
    return [(name, chance.randint(1, OFTEN[name]), chance.choice(list(WHO))) for name in names]


def together(sites: MortalSites, turns: Iterable[tuple[str, int, tuple[bool, bool]]], row: Row) -> None:
    """Turns of any circles but `make`, all of the same pair, until one fails."""
    with closing(Pair(sites)) as pair:
        _make(pair)
        for name, step, who in turns:
            if _turned(pair, name, step, who, row) is None:
                return


def _make(pair: Pair) -> None:
    pair.agent(pair.primary).create_pair(pair.order())
    pair.wait(PairState.PAIR)


def _turned(pair: Pair, name: str, step: int, who: tuple[bool, bool], row: Row) -> int | None:
    """One turn, with its deaths counted; how many there were, None when it failed."""
    turn = Turn(pair, step, *who, [])
    try:
        CIRCLES[name](turn)
    except (AssertionError, PairvolError) as error:
        row.lose(f"{name}, step {step}, {WHO[who]}, {turn.deaths}: {error}")
        return None
    finally:
        row.attempted += turn.ordered
        row.reached += len(turn.deaths)
    print(f"{name} {step} {WHO[who]}: {turn.deaths}, {turn.refused} refusals", flush=True)
    return len(turn.deaths)


@contextmanager
def two_sites(directory: Path, mutant: str = "") -> Iterator[MortalSites]:
    """Two started sites of which nothing is left at the end."""
    sites = MortalSites(directory, mutant)
    try:
        sites.start()
        yield sites
    finally:
        sites.stop()
