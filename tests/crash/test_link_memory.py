"""Reading over the data link keeps nothing of what it read into: a daemon reads for months."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from controller.copy.link import DataLink
from controller.errors import PeerError
from tests.support.nbdkit import start_nbdkit, unix_uri
from tests.support.processes import Processes


@pytest.mark.crash
@pytest.mark.parametrize("end_bytes", [1 << 20, 1 << 19])  # the second: reads that fail half way
def test_nothing_holds_a_buffer_that_was_read_into(short_path: Path, processes: Processes, end_bytes: int) -> None:
    socket = short_path / "link.sock"
    start_nbdkit(processes, socket, ["-r", "memory", str(end_bytes)], "link")
    link = DataLink(unix_uri(socket))
    buffer = bytearray(1 << 20)
    view = memoryview(buffer)
    before = sys.getrefcount(view)
    try:
        link.read_ranges([(at, 4096, view[at : at + 4096]) for at in range(0, len(buffer), 4096)])
    except PeerError:
        assert end_bytes < len(buffer)
    link.close()
    assert sys.getrefcount(view) == before
    view.release()
    buffer.append(0)  # BufferError when a view of it is still about
