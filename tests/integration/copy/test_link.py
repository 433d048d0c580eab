"""The data link against servers that answer, lie dead, refuse or fall silent."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.copy.in_flight import PIECE_BYTES
from controller.copy.link import DataLink, Extent
from controller.errors import PeerError
from tests.integration.copy.sites import JournalServer
from tests.support.processes import Processes
from tests.support.proxy import Faults, Proxy
from tests.support.waiting import wait_until

MIB = 1 << 20


@pytest.fixture
def server(tmp_path: Path, processes: Processes) -> JournalServer:
    directory = tmp_path / "exports"
    directory.mkdir()
    (directory / "data").write_bytes(os.urandom(9 * MIB + 512))
    with (directory / "sparse").open("wb") as file:
        file.truncate(3 * MIB)
        file.seek(MIB)
        file.write(os.urandom(MIB))
    return JournalServer(processes, directory, name="exports")


def read(link: DataLink, offset: int, length: int) -> bytes:
    buffer = bytearray(length)
    link.read_ranges([(offset, length, memoryview(buffer))])
    return bytes(buffer)


@pytest.fixture
def silent() -> Iterator[str]:
    """A listener that accepts and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"nbd://127.0.0.1:{listener.getsockname()[1]}/data"


def test_many_ranges_in_one_call(server: JournalServer) -> None:
    expected = (server.directory / "data").read_bytes()
    link = DataLink(f"{server.uri}/data")
    ranges = [(0, 9 * MIB), (9 * MIB, 512), (5, 1), (PIECE_BYTES - 1, PIECE_BYTES + 2), (7, 0)]
    buffers = [bytearray(length) for _, length in ranges]
    link.read_ranges(
        [(offset, length, memoryview(buffer)) for (offset, length), buffer in zip(ranges, buffers, strict=True)]
    )
    assert [bytes(buffer) for buffer in buffers] == [expected[offset : offset + length] for offset, length in ranges]
    assert link.size_bytes == len(expected)
    link.flush()
    assert link.connections == 1
    link.close()


def test_holes_are_told(server: JournalServer) -> None:
    link = DataLink(f"{server.uri}/sparse", allocation=True)
    assert link.extents(0, 3 * MIB) == [Extent(0, MIB, True), Extent(MIB, MIB, False), Extent(2 * MIB, MIB, True)]
    assert link.extents(MIB + 4096, 8192) == [Extent(MIB + 4096, 8192, False)]
    link.close()
    blind = DataLink(f"{server.uri}/sparse")
    assert blind.extents(0, 3 * MIB) == [Extent(0, 3 * MIB, False)]
    blind.close()


def test_silence_ends_at_the_deadline(silent: str) -> None:
    link = DataLink(silent, deadline_seconds=0.3)
    with pytest.raises(PeerError, match=r"no answer for 0\.3 s"):
        read(link, 0, 1)
    assert not link.connected


def test_silence_in_the_middle_of_a_read(server: JournalServer) -> None:
    with Proxy(("127.0.0.1", server.port)) as proxy:
        link = DataLink(f"nbd://127.0.0.1:{proxy.address[1]}/data", deadline_seconds=0.5)
        read(link, 0, 512)
        proxy.stall()
        with pytest.raises(PeerError, match="no answer"):
            read(link, 0, 4 * MIB)
        with pytest.raises(PeerError, match="no answer"):
            link.flush(deadline_seconds=0.3)
        proxy.heal()
        assert read(link, 0, 512) == (server.directory / "data").read_bytes()[:512]
        assert link.connections == 2
        link.close()


def test_a_slow_link_that_moves_is_not_dead(server: JournalServer) -> None:
    with Proxy(("127.0.0.1", server.port)) as proxy:
        link = DataLink(f"nbd://127.0.0.1:{proxy.address[1]}/data", deadline_seconds=0.5)
        read(link, 0, 512)
        proxy.set(Faults(latency_seconds=0.03))  # for each 256 KiB: more than the deadline in all
        assert read(link, 0, 9 * MIB) == (server.directory / "data").read_bytes()[: 9 * MIB]
        assert link.connections == 1
        link.close()


def test_stop_ends_a_wait(silent: str) -> None:
    stop = threading.Event()
    link = DataLink(silent, deadline_seconds=60, stop=stop)
    threading.Timer(0.1, stop.set).start()
    with pytest.raises(PeerError, match="stopped"):
        read(link, 0, 1)


def test_refused_cut_and_missing_are_retryable_and_named(server: JournalServer) -> None:
    with pytest.raises(PeerError, match="no export named 'nothing'"):
        read(DataLink(f"{server.uri}/nothing"), 0, 1)
    link = DataLink(f"{server.uri}/data")
    with pytest.raises(PeerError, match="out of bounds"):
        read(link, 9 * MIB, 1024)
    assert read(link, 9 * MIB, 512)
    server.kill()
    with pytest.raises(PeerError):
        read(link, 0, 512)
    with pytest.raises(PeerError, match="refused") as caught:
        read(link, 0, 512)
    assert caught.value.retryable
    server.start()
    assert read(link, 0, 512) == (server.directory / "data").read_bytes()[:512]
    link.close()


def test_cut_in_the_middle_of_an_answer(server: JournalServer) -> None:
    with Proxy(("127.0.0.1", server.port)) as proxy:
        link = DataLink(f"nbd://127.0.0.1:{proxy.address[1]}/data")
        read(link, 0, 512)
        proxy.set(Faults(cut_after_bytes=MIB + 77))
        with pytest.raises(PeerError):
            read(link, 0, 9 * MIB)
        assert not link.connected

        def again() -> bytes:
            proxy.heal()  # each time: the proxy may have been slower to cut than the link to give up
            try:
                return read(link, 0, 9 * MIB)
            except PeerError:
                return b""

        assert wait_until(again) == (server.directory / "data").read_bytes()[: 9 * MIB]
        link.close()


def test_not_an_address(server: JournalServer) -> None:
    with pytest.raises(PeerError):
        read(DataLink("http://127.0.0.1/"), 0, 1)
