"""A volume server that is started before it is known what it serves.

It loads its program beside whatever else is to be done first, then waits for
its document and opens nothing before (nbd_plugin/prepared.py). Nobody keeps
it: the keeper that `serving.serve` makes adopts it. One that is told nothing
ends by itself, after the time that a start may take; a controller that starts
ends it like every server that its state does not ask for.
"""

from __future__ import annotations

import signal
import threading
from contextlib import suppress

from controller import durable, process, serving
from controller.appliance import Appliance
from controller.errors import PairvolError
from controller.keeper import spawn


class PreparedServer:
    """Started when made, in a thread of its own. The caller holds the group's lock until `wait` or `drop`."""

    def __init__(self, appliance: Appliance, server: str) -> None:
        self._appliance = appliance
        self._server = server
        self._thread = threading.Thread(target=self._start, name=f"prepare {server}", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Until it is started, or cannot be: then `serve` starts one, and says what hinders it."""
        self._thread.join()

    def drop(self) -> None:
        """End it; it has opened nothing. A server that is kept, and serves, is another matter."""
        self.wait()
        if self._appliance.servers.find(self._server) is None:
            running = process.adopt(self._appliance.paths.pidfile(self._server))
            if running is not None:
                running.send(signal.SIGKILL)
                running.close()

    def _start(self) -> None:
        paths, config = self._appliance.paths, self._appliance.config
        with suppress(PairvolError, OSError):
            running = process.adopt(paths.pidfile(self._server))  # left by a takeover that was cut short
            if running is None:
                durable.remove(paths.server_document(self._server))
                plan = serving.volume_plan(self._appliance, self._server)
                running = spawn(plan, f"wait={config.servers.start_seconds:.1f}")
            running.close()
