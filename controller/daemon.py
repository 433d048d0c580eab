"""The storage controller as a daemon: from a configuration file to a listening process.

Owns the process: logging, signals, the HTTP server, and the order of start
and end. SIGTERM and SIGINT end the controller and leave every nbdkit process
running, so that a restart or an upgrade does not disturb hosts; the next
controller adopts them. `POST /v1/shutdown` ends them too, and so does
`stop_all` (controller/stopping.py) from outside.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator

import uvicorn

from controller import config as configuration
from controller.addresses import open_listener
from controller.api.app import make_app
from controller.appliance import Appliance
from controller.config import Config
from controller.settle import settle

GRACE_SECONDS = 2  # for requests under way when the daemon ends; long polls are cut

_log = logging.getLogger("pairvol.controller")


class _Server(uvicorn.Server):
    """uvicorn, leaving signals to us, and waking once a second instead of ten times."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._end = asyncio.Event()

    def end(self) -> None:
        self.should_exit = True
        self._end.set()

    async def main_loop(self) -> None:
        while not await self.on_tick(0):  # tick 0 of ten renews the Date header
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._end.wait(), 1.0)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def run(path: str | os.PathLike[str]) -> None:
    """Run a storage controller until it is told to end. Raises PairvolError when it cannot start."""
    log_to_stderr()
    run_config(configuration.load(path))


def run_config(config: Config) -> None:
    """As `run`, with a configuration at hand."""
    appliance = Appliance.open(config)
    stop_servers = False
    try:
        with contextlib.closing(open_listener(config.listener)) as listener:
            settle(appliance)
            appliance.events.emit(
                "info",
                "controller.started",
                f"controller of {config.site} listens at {config.listener}",
                {"pid": os.getpid()},
            )
            stop_servers = asyncio.run(_serve(appliance, listener))
    finally:
        _log.info("ending%s", " with all servers" if stop_servers else "; servers run on")
        appliance.close(stop_servers=stop_servers)
        if config.listener.path is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(config.listener.path)


async def _serve(appliance: Appliance, listener: socket.socket) -> bool:
    """Serve until told to end; whether the nbdkit processes are to end too."""
    stop_servers = False

    def request_shutdown(servers: bool) -> None:
        nonlocal stop_servers
        stop_servers = stop_servers or servers
        server.end()

    app = make_app(appliance, request_shutdown)
    settings = uvicorn.Config(
        app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=GRACE_SECONDS
    )
    server = _Server(settings)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, request_shutdown, False)
    await server.serve(sockets=[listener])
    return stop_servers


def log_to_stderr() -> None:
    """One line for each message; systemd adds the time, a file wants it."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
