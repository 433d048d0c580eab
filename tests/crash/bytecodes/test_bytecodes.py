"""A short cut of the kills at bytecodes; `make crash SUITE=bytecodes` has 500."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.bytecodes.suite import run


@pytest.mark.crash
@pytest.mark.slow
def test_whatever_bytecode_the_server_dies_at(short_path: Path) -> None:
    row = run(seed=51, count=6, directory=short_path, controls=("acknowledged before journal",))
    print(row)
    assert row.holds, str(row)
    assert row.controls == 1
    assert row.reached >= 4
