"""All nbdkit processes of an appliance, by server id.

Owns the set of keepers (controller/keeper.py), one for each server that is to
run. Servers outlive the controller: only `stop` and `stop_all` end them. What
each serves is decided in controller/plans.py.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Set
from pathlib import Path

from controller import process
from controller.api.models import ServerState
from controller.errors import PeerError
from controller.events import Events
from controller.keeper import Keeper
from controller.prepared import PreparedServer
from controller.server_plan import ServerPlan


class Servers:
    """All keepers, by server id. Any thread may call."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._lock = threading.Lock()
        self._keepers: dict[str, Keeper] = {}
        self._prepared: dict[str, PreparedServer] = {}

    def keep(self, plan: ServerPlan) -> None:
        """Begin to keep a server, prepared or not; one already kept stays as it is. Returns at once."""
        with self._lock:
            if plan.id not in self._keepers:
                self._keepers[plan.id] = Keeper(plan, self._events, self._prepared.pop(plan.id, None))

    def prepare(self, plan: ServerPlan) -> None:
        """Start a server that waits until it is kept, if there is none; one that is kept needs none. Returns at once.

        What it finds in its document by then is what it serves, so that must be written before `keep`.
        """
        with self._lock:
            present = self._prepared.get(plan.id)
            if plan.id in self._keepers or (present is not None and not present.useless):
                return
            self._prepared[plan.id] = PreparedServer(plan)
        if present is not None:
            present.drop()

    def drop_prepared(self, wanted: Set[str] = frozenset()) -> None:
        """End every prepared server but these."""
        with self._lock:
            dropped = [self._prepared.pop(server) for server in self._prepared.keys() - wanted]
        for each in dropped:
            each.drop()

    def wait_ready(self, server: str, seconds: float) -> None:
        keeper = self.find(server)
        if keeper is None:
            raise PeerError(f"server {server} is not kept here", server=server)
        keeper.wait_ready(seconds)

    def find(self, server: str) -> Keeper | None:
        with self._lock:
            return self._keepers.get(server)

    def all(self) -> list[Keeper]:
        with self._lock:
            return [self._keepers[server] for server in sorted(self._keepers)]

    def state(self, server: str) -> ServerState:
        keeper = self.find(server)
        return keeper.state if keeper is not None else ServerState.STOPPED

    def failure(self, server: str) -> str | None:
        keeper = self.find(server)
        return keeper.failure if keeper is not None else None

    def stop(self, server: str) -> None:
        """End a server and stop keeping it; one that is not kept is no error."""
        with self._lock:
            keeper = self._keepers.get(server)
        if keeper is not None:
            keeper.stop()
            with self._lock:
                self._keepers.pop(server, None)

    def leave_all(self) -> None:
        """Stop keeping; every server that serves runs on."""
        self.drop_prepared()
        self._end_all(Keeper.leave)

    def stop_all(self) -> None:
        """End every server."""
        self.drop_prepared()
        self._end_all(Keeper.stop)

    def _end_all(self, end: Callable[[Keeper], None]) -> None:
        with self._lock:
            keepers = list(self._keepers.values())
            self._keepers.clear()
        threads = [threading.Thread(target=end, args=(keeper,)) for keeper in keepers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def stop_strays(run_directory: Path, keep: set[Path], wait_seconds: float = 5.0) -> list[int]:
    """End every server of a run directory whose pid file is not in `keep`, and drop such files; returns their pids.

    They are left by commands that a crash cut short, or by a controller whose
    state is to end with it.
    """
    found = [pidfile for _, pidfile in process.servers_under(run_directory) if pidfile not in keep]
    held = [stray for stray in map(process.adopt, found) if stray is not None]
    for stray in held:
        stray.send(signal.SIGTERM)
    for stray in held:
        if not stray.wait(wait_seconds):
            stray.send(signal.SIGKILL)
            stray.wait(wait_seconds)
        stray.reap()
        stray.close()
    for pidfile in set(run_directory.glob("*.pid")) - keep:
        pidfile.unlink(missing_ok=True)
    return [stray.pid for stray in held]
