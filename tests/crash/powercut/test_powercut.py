"""A short cut of the power-cut explorer; `make crash SUITE=powercut` looks at 5,000 states and more."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.powercut.suite import run
from tests.support.leftovers import leftovers


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory: states are laid out by the hundred."""
    with tempfile.TemporaryDirectory(prefix="pairvol-cut-", dir="/dev/shm") as directory:
        yield Path(directory)
        assert leftovers([Path(directory)]) == []


@pytest.mark.crash
@pytest.mark.root
@pytest.mark.slow
def test_whatever_a_power_cut_leaves_is_a_prefix_with_all_that_was_promised(memory: Path) -> None:
    row = run(seed=31, points=320, directory=memory)
    print(row)
    assert row.holds, str(row)
    assert row.reached >= 280
