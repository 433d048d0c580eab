"""Volume servers as the controller starts them: real nbdkit, real sockets, real journals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import Processes
from tests.support.volume_server import GroupFiles, start_volume_server

MIB = 1 << 20


@pytest.fixture
def paired(short_path: Path, processes: Processes) -> Iterator[GroupFiles]:
    """Two volumes and a journal, served."""
    files = GroupFiles(short_path, {"data": 64 * MIB, "log": 8 * MIB}, 128 * MIB).create()
    server = start_volume_server(processes, files)
    yield files
    assert processes.stop(server) == 0, processes.log("server")


@pytest.fixture
def unpaired(short_path: Path, processes: Processes) -> Iterator[GroupFiles]:
    """One volume without a journal, served."""
    files = GroupFiles(short_path, {"data": 64 * MIB}).create()
    server = start_volume_server(processes, files)
    yield files
    assert processes.stop(server) == 0, processes.log("server")
