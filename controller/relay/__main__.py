"""The compressing relay of one group: python -m controller.relay --pidfile F --listen HOST:PORT --targets F.

Owns its listener and its connections. It decides nothing: which two servers
there are, the targets file says, which is read anew for each connection. Its
controller starts, watches and ends it like any server, and it lives on
without one.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from controller.addresses import open_listener, parse_address
from controller.errors import IntegrityError, PairvolError
from controller.relay.frames import GREETING, Answer, Packing, Plain, Target, greeted, greeting
from controller.relay.pump import Flow, pump

CONNECTIONS_MAX: Final = 256  # one volume of each of 64, their journal, and as many again that are just ending
HELLO_SECONDS: Final = 5.0
CONNECT_SECONDS: Final = 5.0
GONE_SECONDS: Final = 30  # a peer that takes nothing for so long is gone


class Relay:
    """Takes connections until the process ends; a thread for each."""

    def __init__(self, listener: socket.socket, targets: Path) -> None:
        self._listener = listener
        self._targets = targets
        self._places = threading.BoundedSemaphore(CONNECTIONS_MAX)

    def run(self) -> None:
        while True:
            client, _ = self._listener.accept()
            if self._places.acquire(blocking=False):
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()
            else:
                with client, suppress(OSError):
                    client.settimeout(0)
                    client.send(greeting(Answer.BUSY))

    def _serve(self, client: socket.socket) -> None:
        try:
            with client, suppress(OSError, PairvolError):
                _keep_alive(client)
                client.settimeout(HELLO_SECONDS)
                target = greeted(_exactly(client, GREETING.size))
                answer, server = self._connect(target)
                client.sendall(greeting(answer))
                if server is not None:
                    with server:
                        _join(client, server)
        finally:
            self._places.release()

    def _connect(self, target: int) -> tuple[Answer, socket.socket | None]:
        try:
            addresses = json.loads(self._targets.read_text())
            host, port = addresses[Target(target).name.lower()]
            server = socket.create_connection((host, port), CONNECT_SECONDS)
        except (ValueError, KeyError, TypeError):
            return Answer.NO_TARGET, None
        except OSError:
            return Answer.UNREACHABLE, None
        return Answer.GO_ON, server


def _join(client: socket.socket, server: socket.socket) -> None:
    for end in (client, server):
        end.setblocking(False)
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    pump(Flow(client, server, Plain()), Flow(server, client, Packing()))


def _keep_alive(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, GONE_SECONDS)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE_SECONDS * 1000)


def _exactly(client: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = client.recv(count - len(data))
        if not piece:
            raise IntegrityError("the connection ended in its hello")
        data += piece
    return data


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="controller.relay")
    parser.add_argument("--pidfile", type=Path, required=True)
    parser.add_argument("--listen", required=True)
    parser.add_argument("--targets", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        listener = open_listener(parse_address(options.listen))
    except PairvolError as error:
        print(f"pairvol: {error.message}", file=sys.stderr)
        return error.exit_code

    options.pidfile.write_text(f"{os.getpid()}\n")
    Relay(listener, options.targets).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
