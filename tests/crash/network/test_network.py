"""A short cut of the network matrix; `make crash SUITE=network` runs every kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.network.kinds import KINDS
from tests.crash.network.namespaces import missing
from tests.crash.network.suite import run_kinds
from tests.crash.results import Row

SHORT = ("half-open", "resets in the middle of reads", "payload spoiled")


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.skipif(bool(missing()), reason=missing() or "namespaces can be made")
def test_a_bad_network_leaves_no_trace(memory: Path) -> None:
    row = Row("network", seed=7)
    matrix = run_kinds(row, memory / "sites", [kind for kind in KINDS if kind.name in SHORT])
    print(f"{row}; longest host write {matrix.longest_seconds:.2f} s")
    assert row.holds, str(row)
    assert row.reached == len(SHORT)
