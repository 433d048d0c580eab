"""A volume server that is started before it is known what it serves.

It loads its program beside whatever else is to be done first, then waits for
its document and opens nothing before (nbd_plugin/prepared.py). Nobody keeps
it: the keeper of the same plan adopts it. One that is told nothing ends by
itself, after the time that a start may take; a controller that starts ends it
like every server that its state does not ask for.
"""

from __future__ import annotations

import signal
import threading
from contextlib import suppress

from controller import process
from controller.errors import PairvolError
from controller.keeper import ServerPlan, spawn
from controller.process import ServerProcess


class PreparedServer:
    """Started when made, in a thread of its own; `wait` or `drop` is called once, by the one who made it."""

    def __init__(self, plan: ServerPlan) -> None:
        self._plan = plan
        self._running: ServerProcess | None = None
        with suppress(OSError):
            # Now: beside the work that follows, a look at every process here waits for the interpreter again and again.
            self._running = process.adopt(plan.pidfile)  # by one who was cut short
        self._thread = threading.Thread(target=self._start, name=f"prepare {plan.id}", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Until a keeper finds it, or it cannot be started: then the keeper starts one, and says what hinders it."""
        self._thread.join()
        if self._running is not None:
            self._running.close()

    def drop(self) -> None:
        """End it; it has opened nothing."""
        self._thread.join()
        if self._running is not None:
            self._running.send(signal.SIGKILL)
            self._running.wait(self._plan.stop_seconds)
            self._running.reap()
            self._running.close()

    def _start(self) -> None:
        with suppress(PairvolError, OSError):
            self._running = self._running or spawn(self._plan, f"wait={self._plan.start_seconds:.1f}")
