"""End a storage controller and everything that it keeps running, from outside.

For the demonstration, for tests and for people. Owns the ways in, from polite
to firm; works with a controller that runs, that hangs, and that is gone.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from controller import durable
from controller.addresses import callable_address
from controller.api.client import ControllerClient
from controller.appliance import lock_state
from controller.errors import ConflictError, NotFoundError, PairvolError
from controller.paths import Paths
from controller.servers import stop_strays
from controller.tls import Certificates

POLL_SECONDS = 0.05


def stop_all(
    state_directory: str | os.PathLike[str], wait_seconds: float = 20.0, certificates: Certificates | None = None
) -> None:
    """End the controller of a state directory and all its nbdkit processes; nothing to end is no error."""
    state = Path(state_directory)
    try:
        owner = durable.read_json(state / "controller.json")
    except NotFoundError:
        return
    paths = Paths(state, Path(owner["run_directory"]))
    lock_file = _end_controller(paths, str(owner["listen"]), certificates, int(owner["pid"]), wait_seconds)
    try:
        stop_strays(paths.run, set())
    finally:
        os.close(lock_file)


def _end_controller(paths: Paths, listen: str, certificates: Certificates | None, pid: int, wait_seconds: float) -> int:
    """Hold the state directory's lock; whoever has it is asked, then signalled."""

    def ask() -> None:
        address = callable_address(listen)
        with suppress(PairvolError), ControllerClient(address, seconds=5.0, certificates=certificates) as client:
            client.shutdown()

    def send(number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)  # it holds the lock, so this pid is still its own

    for attempt in (ask, lambda: send(signal.SIGTERM), lambda: send(signal.SIGKILL)):
        lock_file = _try_lock(paths)
        if lock_file is not None:
            return lock_file
        attempt()
        deadline = time.monotonic() + wait_seconds
        while time.monotonic() < deadline:
            lock_file = _try_lock(paths)
            if lock_file is not None:
                return lock_file
            time.sleep(POLL_SECONDS)
    raise ConflictError(
        f"the controller of {paths.state} does not end", hint=f"Look at process {pid}.", path=str(paths.state)
    )


def _try_lock(paths: Paths) -> int | None:
    try:
        return lock_state(paths)
    except ConflictError:
        return None
