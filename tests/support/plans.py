"""How tests of keepers run a server."""

from __future__ import annotations

from pathlib import Path

from controller.server_plan import ServerPlan


def plan(directory: Path, *words: str, stateless: bool = False, stop_seconds: float = 5.0) -> ServerPlan:
    """A server without a disk: `nbdkit ... memory 1M`, or other words."""
    pidfile, socket = directory / "m.pid", directory / "m.sock"
    command = ["nbdkit", "-f", "--pidfile", str(pidfile), "-U", str(socket), *(words or ("memory", "1M"))]
    return ServerPlan(
        id="m",
        pidfile=pidfile,
        log=directory / "m.log",
        command=lambda: command,
        leftovers=(socket,),
        start_seconds=20.0,
        stop_seconds=stop_seconds,
        stateless=stateless,
    )
