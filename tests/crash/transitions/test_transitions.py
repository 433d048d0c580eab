"""A turn of two circles and four named steps; all of it, and the controls, are `make crash`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.results import Row
from tests.crash.transitions.programs import kill_at
from tests.crash.transitions.suite import circle, two_sites

pytestmark = [pytest.mark.crash, pytest.mark.slow]

SHORT = {"pause": (1, True), "hand": (3, True)}
POINTS = [
    ("copy: journal synced", 1, True),
    ("resync: content saved", 1, False),
    ("takeover: served", 1, True),
    ("take back: marked", 1, False),
]


def test_what_is_cut_at_a_step_converges(short_path: Path) -> None:
    """Commands that are given again after the death of an agent, and programs after that of controllers."""
    row = Row("transitions", 1)
    with two_sites(short_path / "s") as sites:
        for name, (step, to_secondary) in SHORT.items():
            circle(sites, name, [step], row, who=(to_secondary, False), most=100)
        kill_at(sites, POINTS, row)
    print(row)
    assert row.holds, str(row)
    assert row.reached >= 7
