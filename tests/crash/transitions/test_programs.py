"""Controllers killed at two named steps; all of them, and the controls, are `make crash`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.results import Row
from tests.crash.transitions.programs import kill_at
from tests.crash.transitions.suite import two_sites

pytestmark = [pytest.mark.crash, pytest.mark.slow]

POINTS = [("takeover: served", 1, True), ("take back: marked", 1, False)]


def test_a_program_cut_at_a_step_goes_on(short_path: Path) -> None:
    row = Row("programs", 0)
    with two_sites(short_path / "s") as sites:
        kill_at(sites, POINTS, row)
    print(row)
    assert row.holds, str(row)
    assert row.reached == len(POINTS)
