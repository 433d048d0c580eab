"""The compressed data link against relays that work, lie, bomb and fall silent; a real nbdkit behind a real relay."""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import crc32c
import psutil
import pytest
import zstandard

from controller.api.models import Links
from controller.copy.bucket import Lane
from controller.copy.link import DataLink
from controller.copy.ways import Ways
from controller.errors import PeerError
from controller.relay.frames import BLOCK, RAW_BYTES_MAX, Answer, Target, greeting
from tests.integration.copy.sites import JournalServer
from tests.support.processes import Processes, free_port
from tests.support.waiting import wait_until

MIB = 1 << 20
LINE = b"what a database page may hold, number %08d\n"


class Relay:
    """The relay's process before a server of some exports, and the ways of one reader."""

    def __init__(self, directory: Path, processes: Processes) -> None:
        exports = directory / "exports"
        exports.mkdir()
        self.text = b"".join(LINE % number for number in range(100_000))
        (exports / "text").write_bytes(self.text)
        (exports / "noise").write_bytes(os.urandom(3 * MIB))
        self.server = JournalServer(processes, exports, name="exports")
        where = urlsplit(self.server.uri)
        targets = directory / "targets.json"
        targets.write_text(json.dumps({"journal": [where.hostname, where.port]}))
        self.port = free_port()
        pidfile = directory / "relay.pid"
        words: list[str | Path] = ["--pidfile", pidfile, "--listen", f"127.0.0.1:{self.port}", "--targets", targets]
        self.process = processes.start([sys.executable, "-m", "controller.relay", *words], "relay")
        wait_until(pidfile.exists, what="the relay to listen")
        self.events: list[str] = []
        self.ways = Ways(lambda level, name, message, facts: self.events.append(name))

    def links(self, port: int | None = None) -> Links:
        relay = f"127.0.0.1:{port or self.port}"
        return Links(journal_uri=f"{self.server.uri}/text", pointers_uri="", volume_uris={}, relay=relay)

    def link(self, export: str, port: int | None = None, **more: Any) -> DataLink:
        return DataLink(f"{self.server.uri}/{export}", way=self.ways.way(self.links(port), Lane.JOURNALS), **more)

    def greets(self, hello: bytes) -> bytes:
        """What it answers to that, until it ends the connection or says enough."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as client:
            client.settimeout(10)
            client.sendall(hello)
            return client.recv(16)


def read(link: DataLink, length: int) -> bytes:
    buffer = bytearray(length)
    link.read_ranges([(0, length, memoryview(buffer))])
    return bytes(buffer)


@pytest.fixture
def relay(tmp_path: Path, processes: Processes) -> Relay:
    return Relay(tmp_path, processes)


def test_what_is_read_is_the_same_and_less_of_it_travels(relay: Relay) -> None:
    traffic = relay.ways.traffic[Lane.JOURNALS]
    link = relay.link("text", allocation=True)
    assert read(link, len(relay.text)) == relay.text
    assert link.compressed
    assert link.size_bytes == -(-len(relay.text) // 512) * 512 or link.size_bytes == len(relay.text)
    assert link.extents(0, MIB)[0].length > 0
    link.flush()
    link.close()
    assert traffic.nbd_bytes > len(relay.text) > 5 * traffic.wire_bytes
    before = traffic.wire_bytes
    noise = relay.link("noise")
    assert read(noise, 3 * MIB) == (relay.server.directory / "noise").read_bytes()
    # What has been passed on is counted a moment later.
    wait_until(lambda: traffic.wire_bytes - before >= 3 * MIB, what="the last piece to be counted")
    assert traffic.wire_bytes - before <= 3.1 * MIB
    noise.close()
    assert psutil.Process(relay.process.pid).memory_info().rss < 64 * MIB


@pytest.mark.parametrize("hello", [b"GET / HTTP/1.1\r\n", bytes(16), greeting(Target.JOURNAL)[:-1] + b"x"])
def test_it_says_nothing_to_who_does_not_greet(relay: Relay, hello: bytes) -> None:
    assert relay.greets(hello) == b""
    assert relay.greets(greeting(Target.VOLUMES)) == greeting(Answer.NO_TARGET)
    assert relay.greets(greeting(Target.JOURNAL)) == greeting(Answer.GO_ON)


def test_a_server_that_is_away_says_nothing_against_the_relay(relay: Relay) -> None:
    relay.server.kill()
    link = relay.link("text")
    for _ in range(3):
        with pytest.raises(PeerError):
            read(link, MIB)
    assert relay.ways.usable
    relay.server.start()
    assert read(link, MIB) == relay.text[:MIB]
    assert link.compressed
    link.close()


def test_a_relay_that_is_gone_is_gone_round_and_found_again(relay: Relay) -> None:
    link = relay.link("text")
    assert read(link, MIB) == relay.text[:MIB]
    relay.process.kill()
    relay.process.wait()
    for _ in range(2):  # the connection, then the way
        with pytest.raises(PeerError):
            read(link, MIB)
    assert read(link, MIB) == relay.text[:MIB]
    assert not link.compressed
    link.close()


Speaks = Callable[[socket.socket], None]


@pytest.fixture
def impostor() -> Iterator[Callable[[Speaks], int]]:
    """Something else at the relay's port: it greets, and then says what the test wants."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def speak(speaks: Speaks) -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    try:
                        speaks(client)
                    except OSError:
                        pass

        def begin(speaks: Speaks) -> int:
            threading.Thread(target=speak, args=(speaks,), daemon=True).start()
            return int(listener.getsockname()[1])

        yield begin
        listener.shutdown(socket.SHUT_RDWR)


def bomb(client: socket.socket) -> None:
    """Small frames that grow, without end, in answer to a greeting."""
    client.sendall(greeting(Answer.GO_ON))
    frame = zstandard.ZstdCompressor().compress(bytes(1 << 30))
    client.sendall(BLOCK.pack(RAW_BYTES_MAX, len(frame), 0) + frame)
    client.recv(1000)


def flood(client: socket.socket) -> None:
    """Blocks that are right, of what no server says: 256 KiB of zeros each."""
    client.sendall(greeting(Answer.GO_ON))
    raw = b"NBDMAGIC" + b"IHAVEOPT" + struct.pack(">H", 3) + bytes(RAW_BYTES_MAX - 18)
    frame = zstandard.ZstdCompressor().compress(raw)
    block = BLOCK.pack(len(raw), len(frame), crc32c.crc32c(raw)) + frame
    while True:
        client.sendall(block * 100)


def babble(client: socket.socket) -> None:
    client.sendall(b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n")
    client.recv(1000)


def refuse(client: socket.socket) -> None:
    client.sendall(greeting(Answer.BUSY))
    client.recv(1000)


def silence(client: socket.socket) -> None:
    client.recv(1000)
    client.recv(1000)


@pytest.mark.parametrize("speaks", [bomb, flood, babble, refuse, silence])
def test_what_is_no_relay_is_gone_round_in_bounded_memory(
    relay: Relay, impostor: Callable[[Speaks], int], speaks: Speaks
) -> None:
    link = relay.link("text", impostor(speaks), deadline_seconds=0.5)
    before = psutil.Process().memory_info().rss

    def read_straight() -> bool:
        try:
            found = read(link, MIB)
        except PeerError:
            return False
        assert found == relay.text[:MIB]
        return not link.compressed

    assert wait_until(read_straight, 20, "the text to be read round it")
    assert psutil.Process().memory_info().rss - before < 64 * MIB

    def told() -> bool:
        link.reconsider()
        return read_straight() and relay.events == ["copy.compression_lost"]

    assert wait_until(told, 20, "people to be told")
    link.close()
