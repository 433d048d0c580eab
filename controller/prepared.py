"""A volume server that is started before it is known what it serves.

It loads its program, which takes longer than anything else at a start, then
waits for a word at its standard input and opens nothing before
(nbd_plugin/prepared.py). Who is to keep the server of that plan hands it over:
its document is there by then, and the keeper adopts it. The pipe lives as long
as its controller: when that has died, the server ends by itself.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from typing import Final

from controller.errors import PairvolError
from controller.process import ServerProcess
from controller.server_plan import ServerPlan, spawn

WORD: Final = b"serve\n"
AGAIN_SECONDS: Final = 60.0  # from the start of one that died to the next: what ended it may do so again


class PreparedServer:
    """Started when made, in a thread of its own. `hand_over` or `drop` is called once, by any thread."""

    def __init__(self, plan: ServerPlan) -> None:
        self._plan = plan
        self._began = time.monotonic()
        self._running: ServerProcess | None = None
        self._read, self._write = os.pipe2(os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._start, name=f"prepare {plan.id}", daemon=True)
        self._thread.start()

    @property
    def useless(self) -> bool:
        """Whether it has died, or could not be started, and it is time for another."""
        if self._thread.is_alive() or time.monotonic() - self._began < AGAIN_SECONDS:
            return False
        return self._running is None or not self._running.alive()

    def hand_over(self) -> None:
        """Its document is there: have it serve. One that died is no error: then a keeper finds none and starts one."""
        self._thread.join()
        with suppress(BrokenPipeError):
            os.write(self._write, WORD)
        self._forget()

    def drop(self) -> None:
        """End it; it has opened nothing."""
        self._thread.join()
        if self._running is not None:
            self._running.send(signal.SIGKILL)
            self._running.wait(self._plan.stop_seconds)
        self._forget()

    def _start(self) -> None:
        try:
            with suppress(PairvolError, OSError):  # a keeper that starts one says what hinders it
                self._running = spawn(self._plan, "prepared=1", input_file=self._read)
        finally:
            os.close(self._read)

    def _forget(self) -> None:
        os.close(self._write)
        if self._running is not None:
            self._running.reap()
            self._running.close()
