"""A short cut of the power cuts while a pair grows; `make crash SUITE=growing` also moves journals and runs in band."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.powercut import growths
from tests.crash.powercut.growing import copy_directly, found, join


@pytest.mark.crash
@pytest.mark.root
@pytest.mark.slow
def test_a_cut_while_a_volume_joins_leaves_what_was_ordered_or_what_was_before(memory: Path) -> None:
    row = growths.run(37, 12, memory, controls=(), stages=(found, copy_directly, join))
    print(row)
    assert row.holds, str(row)
    assert row.reached >= 8
