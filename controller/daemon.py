"""The storage controller as a daemon: from a configuration file to a listening process.

Owns the process: logging, signals, the HTTP server, and the order of start
and end. SIGTERM and SIGINT end the controller and leave every nbdkit process
running, so that a restart or an upgrade does not disturb hosts; the next
controller adopts them. `POST /v1/shutdown` ends them too, and so does
`stop_all` (controller/stopping.py) from outside.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from typing import Final

from controller import config as configuration
from controller.api.app import make_app
from controller.appliance import Appliance
from controller.clock import ClockWatch
from controller.config import Config
from controller.server_frame import Frame, Listener, listening, log_to_stderr
from controller.settle import settle
from controller.standby import Standby

# While commands are answered, a thread that comes back from the disk or the link waits so long for the interpreter, and
# several times for each window of journals: of many busy groups the interpreter's own 5 ms is a part of the lag.
SWITCH_SECONDS: Final = 0.0005

_log = logging.getLogger("pairvol.controller")


def run(path: str | os.PathLike[str]) -> None:
    """Run a storage controller until it is told to end. Raises PairvolError when it cannot start."""
    log_to_stderr()
    run_config(configuration.load(path))


def run_config(config: Config) -> None:
    """As `run`, with a configuration at hand."""
    sys.setswitchinterval(SWITCH_SECONDS)
    appliance = Appliance.open(config)
    clock, standby = ClockWatch(appliance.events), Standby(appliance)
    stop_servers = False
    try:
        with listening(config.listener, config.certificates) as listener:
            settle(appliance)
            clock.start()
            standby.start()
            appliance.events.emit(
                "info",
                "controller.started",
                f"controller of {config.site} listens at {config.listener}",
                {"pid": os.getpid()},
            )
            stop_servers = asyncio.run(_serve(appliance, listener))
    finally:
        _log.info("ending%s", " with all servers" if stop_servers else "; servers run on")
        clock.stop()
        standby.close()
        appliance.close(stop_servers=stop_servers)


async def _serve(appliance: Appliance, listener: Listener) -> bool:
    """Serve until told to end; whether the nbdkit processes are to end too."""
    stop_servers = False

    def request_shutdown(servers: bool) -> None:
        nonlocal stop_servers
        stop_servers = stop_servers or servers
        frame.end()

    frame = Frame(make_app(appliance, request_shutdown), [listener])
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, request_shutdown, False)
    await frame.serve()
    return stop_servers
