"""A short cut of the disk-error matrix; `make crash SUITE=disks` runs all rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.disk_errors.suite import run


@pytest.mark.crash
@pytest.mark.root
@pytest.mark.slow
def test_a_disk_that_fails_is_named_and_never_called_well(memory: Path) -> None:
    row = run(seed=41, directory=memory, brief=True, controls=("swallowed error",))
    print(row)
    assert row.holds, str(row)
    assert row.controls == 1
    assert row.reached >= 30
