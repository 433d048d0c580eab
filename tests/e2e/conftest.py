"""Two real sites for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.replication import LinkedSites


@pytest.fixture
def linked(short_path: Path) -> Iterator[LinkedSites]:
    with LinkedSites(short_path) as sites:
        yield sites
