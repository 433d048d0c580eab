"""A short cut of the order checker over power cuts; `make crash SUITE=order` looks at 1,000 states."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.order.suite import run


@pytest.mark.crash
@pytest.mark.root
def test_what_is_there_is_a_prefix_across_all_volumes(memory: Path) -> None:
    controls = ("acknowledged before journal", "older data wins")
    row = run(seed=51, points=90, directory=memory, controls=controls)
    print(row)
    assert row.holds, str(row)
    assert row.controls == len(controls)
    assert row.reached >= 80
