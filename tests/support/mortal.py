"""A controller that dies at a chosen step: python -m tests.support.mortal CONFIG

A step is a call that leaves something behind outside the process: a document
written, a file removed, a server commanded or started, a journal laid out.
While the file `die` lies beside CONFIG, steps are counted, and the process
kills itself right after the step whose number that file holds.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from controller import control_client, daemon, durable, process
from controller.copy.worker import SecondaryGroup
from controller.journal.pointers import PointerPage
from controller.journal.volume import JournalVolume
from controller.restore.safepoint import SafePoint

STEPS = (
    (durable, "write_bytes"),
    (durable, "remove"),
    (durable, "sync_directory"),
    (control_client, "command"),
    (process, "spawn"),
    (JournalVolume, "create"),
    (JournalVolume, "set_generation"),
    (PointerPage, "create"),
    (SecondaryGroup, "finish_restore"),
    (SecondaryGroup, "stop"),
    (SafePoint, "roll_back"),
    (os, "rename"),
)


class Death:
    """Counts steps while the file is there."""

    def __init__(self, order: Path) -> None:
        self._order = order
        self._lock = threading.Lock()
        self._count = 0

    def step(self) -> None:
        with self._lock:
            try:
                wanted = int(self._order.read_text())
            except (FileNotFoundError, ValueError):
                return
            self._count += 1
            if self._count >= wanted:
                os.kill(os.getpid(), signal.SIGKILL)

    def after(self, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def wrapped(*arguments: Any, **named: Any) -> Any:
            result = call(*arguments, **named)
            if "status" not in arguments:  # asking leaves nothing behind
                self.step()
            return result

        return wrapped


def main(config: str) -> None:
    death = Death(Path(config).with_name("die"))
    for owner, name in STEPS:
        call = getattr(owner, name)
        wrapped = death.after(call)
        bound = isinstance(owner, type) and getattr(call, "__self__", None) is owner
        setattr(owner, name, staticmethod(wrapped) if bound else wrapped)
    daemon.run(config)


if __name__ == "__main__":
    main(sys.argv[1])
