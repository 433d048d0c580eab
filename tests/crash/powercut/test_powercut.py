"""A short cut of the power-cut explorer; `make crash SUITE=powercut` looks at 5,000 states and more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.powercut.suite import run


@pytest.mark.crash
@pytest.mark.root
@pytest.mark.slow
def test_whatever_a_power_cut_leaves_is_a_prefix_with_all_that_was_promised(memory: Path) -> None:
    controls = ("volume before journal", "state without sync of its content")
    row = run(seed=31, points=200, directory=memory, controls=controls)
    print(row)
    assert row.holds, str(row)
    assert row.controls == len(controls)
    assert row.reached >= 170
