"""A turn of three circles; all of them, and the controls, are `make crash`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.results import Row
from tests.crash.transitions.suite import spread, together, two_sites

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
