"""A PostgreSQL server taken over under load, by force, and back: a short share of `make postgres`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.postgres.clients import Ledger
from tests.postgres.cluster import missing
from tests.postgres.suite import run

TAKEOVERS = 3


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.root
@pytest.mark.skipif(bool(missing()), reason=missing())
def test_takeovers_and_back(session_directory: Path, short_path: Path) -> None:
    session_directory.chmod(0o711)  # the server is another user's
    row = run(int.from_bytes(os.urandom(2)), TAKEOVERS, short_path)
    print(row)
    assert row.holds, row
    assert row.reached == TAKEOVERS


def ledger(*acknowledged: tuple[int, int, int]) -> Ledger:
    """(number, client, time) of what was acknowledged."""
    return Ledger({number: (client, time_ns) for number, client, time_ns in acknowledged})


def test_the_ledger_finds_what_is_gone() -> None:
    written = ((1, 0, 10), (2, 1, 20), (3, 0, 30), (4, 1, 40))
    assert ledger(*written).after_takeover({1, 2, 3, 4}, None) == []
    assert ledger(*written).after_takeover({1, 2, 3}, 39) == []
    assert "4" in ledger(*written).after_takeover({1, 2, 3}, None)[0]
    assert "4" in ledger(*written).after_takeover({1, 2, 3}, 40)[0]
    assert "3 of client 0 is there, 1 is not" in ledger(*written).after_takeover({2, 3, 4}, 5)[0]


def test_the_ledger_forgets_what_was_given_up() -> None:
    kept = ledger((1, 0, 10), (2, 0, 20))
    assert kept.after_takeover({1}, 10) == []
    assert kept.given_up == 1
    assert kept.after_takeover({1}, None) == []
