"""Processes told by a mark in their environment, never by name.

A process inherits the mark of the one that started it, also when it gets a
session of its own; so everything that a site started can be found again,
whoever started it and whatever became of its parent.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from typing import Final

import psutil

MARK: Final = "PAIRVOL_SITE_DIRECTORY"


def marked_processes(directory: str) -> list[psutil.Process]:
    """Processes of the site in `directory`, told by the mark in their environment."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK) == directory:
                found.append(process)
    return found


def wait_until(condition: Callable[[], bool], seconds: float, every: float = 0.05) -> bool:
    """Ask until `condition` holds or the time is over; returns whether it held."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True


def ended(processes: list[psutil.Process], seconds: float) -> bool:
    """Wait until all have ended. A zombie has: whether its parent has looked is not our affair."""

    def alive(process: psutil.Process) -> bool:
        try:
            return bool(process.status() != psutil.STATUS_ZOMBIE)
        except psutil.Error:
            return False

    return wait_until(lambda: not any(map(alive, processes)), seconds, every=0.01)


def finish(processes: list[psutil.Process], seconds: float) -> None:
    """Ask them to end, and end them when they do not."""
    send(processes, signal.SIGTERM)
    if not ended(processes, seconds):
        send(processes, signal.SIGKILL)
        ended(processes, seconds)


def send(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)  # psutil checks that the pid still is that process


def name_of(process: psutil.Process) -> str:
    try:
        return str(process.name())
    except psutil.Error:
        return ""
