"""Clients that vanish at any moment: the server and its other clients live on."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.nbdkit import connected
from tests.support.volume_server import GroupFiles
from tests.support.waiting import wait_until

REQUEST_MAGIC = 0x25609513
READ, WRITE, FLUSH, TRIM, WRITE_ZEROES = 0, 1, 3, 4, 6
OPTION_MAGIC = 0x49484156454F5054
EXPORT_NAME = 1


def receive(link: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = link.recv(count - len(data))
        if not piece:
            raise ConnectionError("hung up")
        data += piece
    return data


@contextmanager
def raw_client(files: GroupFiles, export: bytes = b"data") -> Iterator[socket.socket]:
    """A bare NBD connection in the transmission phase; closed at the end, whatever is under way."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(20)
        link.connect(str(files.socket))
        receive(link, 18)
        link.sendall(struct.pack(">IQII", 3, OPTION_MAGIC, EXPORT_NAME, len(export)) + export)
        receive(link, 10)
        yield link


def request(command: int, cookie: int, offset: int, count: int, data: bytes = b"") -> bytes:
    return struct.pack(">IHHQQI", REQUEST_MAGIC, 0, command, cookie, offset, count) + data


@contextmanager
def steady_client(files: GroupFiles) -> Iterator[None]:
    """Another client, which writes, flushes and reads back all the while, and must notice nothing."""
    done = threading.Event()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            with connected(files.uri("log")) as handle:
                number = 0
                while not done.is_set():
                    number += 1
                    page = number.to_bytes(8, "little") * 512
                    handle.pwrite(page, 4096 * (number % 64))
                    if number % 16 == 0:
                        handle.flush()
                    assert handle.pread(4096, 4096 * (number % 64)) == page
        except BaseException as error:  # noqa: BLE001 - handed to the test
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(30)
    assert not failures, failures


MESSAGES = {
    "nothing": b"",
    "half a request": request(WRITE, 1, 0, 4096)[:13],
    "half of a write's data": request(WRITE, 1, 0, 65536, bytes(30000)),
    "a write not waited for": request(WRITE, 1, 0, 65536, bytes(65536)),
    "a read not waited for": request(READ, 1, 0, 32 << 20),
    "many requests": b"".join(request(WRITE, at, at * 4096, 4096, bytes(4096)) for at in range(64)),
    "many flushes": b"".join(
        request(WRITE, at, at * 4096, 4096, bytes(4096)) + request(FLUSH, at, 0, 0) for at in range(32)
    ),
    "reads and trims": b"".join(
        request(READ, at, at * 4096, 65536) + request(TRIM, at, at * 4096, 4096) for at in range(64)
    ),
    "a long zero": request(WRITE_ZEROES, 1, 0, 48 << 20),
    "not NBD": b"GET / HTTP/1.1\r\n\r\n" * 40,
    "a wrong magic": struct.pack(">IHHQQI", 0xDEADBEEF, 0, READ, 1, 0, 4096),
    "an unknown command": request(99, 1, 0, 4096),
    "a write of 4 GiB": request(WRITE, 1, 0, 0xFFFFFFFF, bytes(65536)),
}


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES.keys())
def test_hang_up_after(paired: GroupFiles, message: bytes) -> None:
    with steady_client(paired):
        for reset in (False, True) * 10:
            with raw_client(paired) as link:
                try:
                    link.sendall(message)
                    if reset:
                        link.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # the server hung up first: its right, with such clients
    status = paired.command("status")
    assert (status["mode"], status["failure"]) == ("journal", None)
    wait_until(lambda: all(volume["connections"] == 0 for volume in paired.command("status")["volumes"]))


def test_a_client_that_stops_reading_holds_up_nobody(paired: GroupFiles) -> None:
    with raw_client(paired) as stuck:
        stuck.sendall(request(READ, 1, 0, 32 << 20))
        with steady_client(paired), connected(paired.uri("data")) as handle:
            handle.pwrite(b"x" * 4096, 0)
            handle.flush()
            paired.command("checkpoint")


@pytest.mark.parametrize("message", [b"", b"\0" * 16, struct.pack(">IQII", 3, OPTION_MAGIC, 7, 0xFFFFFFFF)])
def test_hang_up_in_the_handshake(paired: GroupFiles, message: bytes) -> None:
    with steady_client(paired):
        for _ in range(20):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
                link.connect(str(paired.socket))
                link.sendall(message)
