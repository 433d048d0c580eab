"""A folder in memory for suites that lay out disks by the hundred."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.leftovers import leftovers


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in /dev/shm with a short name; nothing may hold on to it at the end."""
    with tempfile.TemporaryDirectory(prefix="pairvol-", dir="/dev/shm") as directory:
        yield Path(directory)
        assert leftovers([Path(directory)]) == []
