"""What both daemons run in: HTTP servers that leave signals alone and sleep when nothing comes, and one log.

Knows nothing of what is served.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import ssl
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final

import uvicorn

from controller.addresses import Address, open_listener
from controller.errors import UsageError
from controller.tls import MAKE_HINT, Certificates

GRACE_SECONDS: Final = 2  # for requests under way when the daemon ends; long polls are cut


class QuietServer(uvicorn.Server):
    """uvicorn, leaving signals to the daemon, and waking once a second instead of ten times."""

    def __init__(self, app: Any, context: ssl.SSLContext | None = None) -> None:
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            lifespan="off",
            proxy_headers=False,  # nothing stands between, and nobody's word for who asks is taken
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        config.load()
        config.ssl = context
        super().__init__(config)
        self._end = asyncio.Event()

    def end(self) -> None:
        self.should_exit = True
        self._end.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's. An idle TLS client reads no goodbye, so none is waited for."""
        if self.config.ssl is not None:
            for connection in list(self.server_state.connections):
                connection.shutdown()
                if connection.transport is not None and connection.transport.is_closing():
                    connection.transport.abort()
        await super().shutdown(sockets)

    async def main_loop(self) -> None:
        while not await self.on_tick(0):  # tick 0 of ten renews the Date header
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._end.wait(), 1.0)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


Listener = tuple[socket.socket, ssl.SSLContext | None]


@contextlib.contextmanager
def listening(address: Address, certificates: Certificates | None) -> Iterator[Listener]:
    """A listening socket, and the context when TLS is spoken there. The name of a Unix socket goes with it."""
    context = None
    if address.tls:
        if certificates is None:
            raise UsageError(f"{address} needs certificates, and none are named", hint=MAKE_HINT)
        context = certificates.server_context()
    with contextlib.closing(open_listener(address)) as listener:
        try:
            yield listener, context
        finally:
            if address.path is not None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(address.path)


class Frame:
    """One application at several listeners, with TLS at some."""

    def __init__(self, app: Any, listeners: Sequence[Listener]) -> None:
        by_context: dict[ssl.SSLContext | None, list[socket.socket]] = {}
        for listener, context in listeners:
            by_context.setdefault(context, []).append(listener)
        self._servers = [(QuietServer(app, context), sockets) for context, sockets in by_context.items()]

    def end(self) -> None:
        """Let `serve` return after the requests under way; call it in the event loop's thread."""
        for server, _ in self._servers:
            server.end()

    async def serve(self) -> None:
        await asyncio.gather(*(server.serve(sockets=sockets) for server, sockets in self._servers))


def log_to_stderr() -> None:
    """One line for each message with its time, and only warnings of libraries that talk much."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for talkative in ("httpx", "pyroute2"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
