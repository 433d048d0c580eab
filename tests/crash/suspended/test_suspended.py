"""A short cut of suspended groups through power cuts; `make crash SUITE=suspended` looks at 500 states."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.suspended.suite import run


@pytest.mark.crash
@pytest.mark.root
def test_writes_past_the_journal_are_promised_and_owned_up_to(memory: Path) -> None:
    row = run(seed=61, points=28, directory=memory, controls=("bit after data", "map believed as it is read"))
    print(row)
    assert row.holds, str(row)
    assert row.controls == 2
    assert row.reached >= 22
