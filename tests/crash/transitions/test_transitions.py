"""A turn of three circles and four named steps; all of it, and the controls, are `make crash`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.results import Row
from tests.crash.transitions.programs import kill_at
from tests.crash.transitions.suite import spread, together, two_sites

pytestmark = [pytest.mark.crash, pytest.mark.slow]

SHORT = [("pause", 1, (True, False)), ("hand", 3, (True, False))]
SEED = 11  # which of the circles of a living pair, and where it is cut
POINTS = [
    ("copy: journal synced", 1, True),
    ("resync: content saved", 1, False),
    ("takeover: served", 1, True),
    ("take back: marked", 1, False),
]


def test_what_is_cut_at_a_step_converges(short_path: Path) -> None:
    """Commands that are given again after the death of an agent, and programs after that of controllers."""
    row = Row("transitions", SEED)
    with two_sites(short_path / "s") as sites:
        together(sites, SHORT + spread(SEED, 1), row)
        kill_at(sites, POINTS, row)
    print(row)
    assert row.holds, str(row)
    assert row.reached >= 8
