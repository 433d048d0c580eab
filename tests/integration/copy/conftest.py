"""One primary, its journal server, and one secondary."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.copy.sites import JournalServer, Secondary
from tests.support.processes import Processes
from tests.unit.copy.parts import Primary

SIZES = {0: 8 << 20, 7: 1 << 20}


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[Primary]:
    primary = Primary(tmp_path / "primary", 2 << 20, SIZES)
    yield primary
    primary.close()


@pytest.fixture
def server(primary: Primary, processes: Processes) -> JournalServer:
    return JournalServer(processes, primary.directory)


@pytest.fixture
def secondary(tmp_path: Path, primary: Primary) -> Iterator[Secondary]:
    secondary = Secondary(tmp_path / "secondary", SIZES, 3 << 20)
    yield secondary
    secondary.close()
