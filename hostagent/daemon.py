"""The host agent as a daemon: from a configuration file to a listening process.

Owns the process: logging, signals, the HTTP server, and the order of start
and end. Attached devices outlive it, and so does everything of the
controller; an agent that is killed is begun anew and goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from controller import durable
from controller.addresses import Address
from controller.errors import PairvolError
from controller.server_frame import Frame, Listener, listening, log_to_stderr
from controller.tls import Certificates
from hostagent import config as configuration
from hostagent.api.app import make_app
from hostagent.config import Config
from hostagent.drills.unconfirmed import end_unfinished
from hostagent.feed import ControllerFeed
from hostagent.host import Host

_log = logging.getLogger("pairvol.agent")


def run(path: str | os.PathLike[str]) -> None:
    """Run a host agent until it is told to end. Raises PairvolError when it cannot start."""
    log_to_stderr()
    run_config(configuration.load(path))


def run_config(config: Config) -> None:
    """As `run`, with a configuration at hand."""
    host = Host.open(config)
    with contextlib.ExitStack() as stack:
        stack.callback(host.close)
        listeners = [stack.enter_context(_listening(address, config.certificates)) for address in config.listeners]
        feed = ControllerFeed(host.controller, host.events)
        stack.callback(feed.stop)
        begin(host)
        feed.start()
        where = ", ".join(config.listen)
        text = f"host agent of {config.site} listens at {where}"
        host.events.emit("info", "agent.started", text, {"pid": os.getpid()})
        asyncio.run(_serve(host, listeners))
        _log.info("ending; devices and servers run on")


def begin(host: Host) -> None:
    """Take up what an earlier agent left: attached devices and pairs."""
    host.quiet.recover()  # first of all: hosts may be waiting at a frozen file system
    for line in host.devices.adopt():
        host.events.emit("warning", "volume.attachment_stale", line)
    end_unfinished(host)
    host.history.forget_old({pair.group for pair in host.store.all()})
    for pair in host.store.all():
        try:
            host.begin_pair(pair)
        except PairvolError as error:
            host.events.emit("error", "pair.idle", f"{pair.group} is not worked on: {error.message}", group=pair.group)
    host.monitor.start()
    for each in (host, *host.stand_ins):
        each.adoption.start()


async def _serve(host: Host, listeners: list[Listener]) -> None:
    frame = Frame(make_app(host), listeners)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, frame.end)
    await frame.serve()


@contextlib.contextmanager
def _listening(address: Address, certificates: Certificates | None) -> Iterator[Listener]:
    if address.path is not None:
        directory = Path(address.path).parent
        with durable.refusals(directory):
            directory.mkdir(parents=True, exist_ok=True)
    with listening(address, certificates) as listener:
        yield listener
