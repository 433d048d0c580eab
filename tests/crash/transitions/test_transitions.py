"""A turn of three circles, and the drill's whole; all of them, and the controls, are `make crash`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.results import Row
from tests.crash.transitions.suite import STEPS_MAX, circle, spread, together, two_sites

pytestmark = [pytest.mark.crash, pytest.mark.slow]

SHORT = [("pause", 1, (True, False)), ("hand", 3, (True, False))]
SEED = 11  # which of the circles of a living pair, and where it is cut


def test_a_command_cut_at_a_step_and_given_again_converges(short_path: Path) -> None:
    row = Row("transitions", SEED)
    with two_sites(short_path / "s") as sites:
        together(sites, SHORT + spread(SEED, 1), row)
    print(row)
    assert row.holds, str(row)
    assert row.reached >= 4


def test_an_agent_that_dies_at_any_step_of_a_drill_leaves_none_that_nobody_knows_of(short_path: Path) -> None:
    row = Row("transitions", SEED)
    with two_sites(short_path / "s") as sites:
        circle(sites, "rehearse", range(1, STEPS_MAX), row, who=(True, False), most=STEPS_MAX)
    assert row.holds, str(row)
    assert row.reached >= 6
