"""The faulty link itself: what it passes, breaks, holds back and spoils."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.support.proxy import Faults, Proxy
from tests.support.waiting import wait_until


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """A server that answers every byte with itself."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(client: socket.socket) -> None:
        with client:
            try:
                while data := client.recv(65536):
                    client.sendall(data)
            except OSError:
                pass

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(client,), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[:2]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


def receive(client: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (more := client.recv(count - len(data))):
        data += more
    return data


def dial(proxy: Proxy) -> socket.socket:
    return socket.create_connection(proxy.address, timeout=5)


def test_passes_everything_both_ways(echo: tuple[str, int]) -> None:
    payload = bytes(range(256)) * 4096
    with Proxy(echo) as proxy, dial(proxy) as client:
        threading.Thread(target=client.sendall, args=(payload,), daemon=True).start()
        assert receive(client, len(payload)) == payload
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""


def test_cut_breaks_and_refuses_until_healed(echo: tuple[str, int]) -> None:
    with Proxy(echo) as proxy:
        with dial(proxy) as client:
            client.sendall(b"x")
            assert receive(client, 1) == b"x"
            proxy.cut()
            with pytest.raises(ConnectionResetError):
                _until_broken(client)
        with pytest.raises(OSError, match=r"reset|[Pp]ipe"), dial(proxy) as client:
            _until_broken(client)
        proxy.heal()
        with dial(proxy) as client:
            client.sendall(b"y")
            assert receive(client, 1) == b"y"


def _until_broken(client: socket.socket) -> None:
    while client.recv(1):
        pass
    raise ConnectionResetError("reset: closed in order")


def test_stall_holds_and_goes_on_with_nothing_lost(echo: tuple[str, int]) -> None:
    with Proxy(echo) as proxy, dial(proxy) as client:
        proxy.stall()
        client.sendall(b"held")
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
        proxy.heal()
        client.settimeout(5)
        assert receive(client, 4) == b"held"


def test_cut_after_bytes_is_exact(echo: tuple[str, int]) -> None:
    with Proxy(echo) as proxy, dial(proxy) as client:
        proxy.set(Faults(cut_after_bytes=10))
        client.sendall(b"0123456789abcdef")
        got = b""
        try:
            got = receive(client, 16)
        except ConnectionResetError:
            pass
        assert len(got) <= 10
        wait_until(lambda: proxy.faults.cut, 5, "the link to be cut")


def test_corruption_flips_one_bit_once(echo: tuple[str, int]) -> None:
    with Proxy(echo) as proxy, dial(proxy) as client:
        proxy.set(Faults(corrupt_at_byte=5))
        client.sendall(bytes(8))
        assert receive(client, 8) == b"\0\0\0\0\0\x10\0\0"
        client.sendall(bytes(8))
        assert receive(client, 8) == bytes(8)
        assert proxy.corrupted == 1
