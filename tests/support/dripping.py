"""A server that sends its answer a byte now and then, without end: never silent for as long as a deadline."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PAUSE_SECONDS = 0.02
HEADERS = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
PARTS = {
    "status line": b"",
    "headers": HEADERS + b"x-long: ",
    "one of many interim answers": b"HTTP/1.1 100 Continue\r\n\r\n" * 2,
    "body": HEADERS + b"content-length: 1000000\r\n\r\n",
    "pieces": HEADERS + b"transfer-encoding: chunked\r\n\r\n",
}
DRIP = {"pieces": b"1\r\n \r\n", "one of many interim answers": b"HTTP/1.1 100 Continue\r\n\r\n", "status line": b""}


@contextmanager
def dripping(part: str) -> Iterator[int]:
    """The port of one that drips in that part of every answer."""
    over = threading.Event()
    threads: list[threading.Thread] = []

    def serve(client: socket.socket) -> None:
        with client, suppress(OSError):  # the other end gave up
            client.recv(1 << 16)
            client.sendall(PARTS[part])
            for number in range(1 << 30):
                client.sendall(DRIP.get(part, b" ") or b"HTTP/1.1 200 OK and so on"[number : number + 1] or b"n")
                if over.wait(PAUSE_SECONDS):
                    return

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=serve, args=(client,)))
            threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)
            acceptor.join()
            for each in threads:
                each.join()
