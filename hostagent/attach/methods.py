"""The two ways to make a block device of an NBD export, each with its undoing.

Owns the order of the steps. A step is told to `keep` (made durable) before
the next, so that a crash leaves nothing that `undo` does not find. Undoing
goes backwards, may be done twice, and does not need the server to answer.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from controller.errors import ConflictError, UsageError
from controller.process import ServerProcess, spawn
from hostagent.attach import system
from hostagent.attach.record import METHOD_FUSE, METHOD_KERNEL, Record

APPEAR_SECONDS: Final = 15.0
END_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.02
FUSE_HINT: Final = 'See whether the volume is served with "pairvol volume list", and run "pairvol check" as root.'
TIMEOUT_SECONDS: Final = 60  # of kernel nbd: a server that restarts may take its time

Keep = Callable[[Record], Record]


def attach(record: Record, keep: Keep) -> Record:
    """Make the device; returns the complete record."""
    if record.method == METHOD_KERNEL:
        return _attach_kernel(record, keep)
    if record.method == METHOD_FUSE:
        return _attach_fuse(record, keep)
    return keep(record.model_copy(update={"complete": True}))


def undo(record: Record) -> None:
    """Take everything away that `attach` may have made, in reverse order."""
    if record.method == METHOD_KERNEL and record.device is not None:
        if not system.free(record.device):
            system.run(["nbd-client", "-d", record.device])
    elif record.method == METHOD_FUSE and record.mount_point is not None:
        _undo_fuse(record, record.mount_point)


def stale(record: Record) -> str | None:
    """Why an attachment is of no use any more; None while it is."""
    if not record.complete:
        return "it was not finished"
    if record.method == METHOD_KERNEL and record.device is not None:
        return f"{record.device} is not connected" if system.free(record.device) else None
    if record.method == METHOD_FUSE:
        if record.mount_point is None or system.fuse_pid(record.mount_point) is None:
            return "nbdfuse has ended"
        if record.device is None or system.loop_backing(record.device) != _file(record):
            return f"{record.device} no longer belongs to it"
    return None


# -- kernel nbd -----------------------------------------------------------------------


def _attach_kernel(record: Record, keep: Keep) -> Record:
    record = keep(record.model_copy(update={"device": system.free_nbd()}))
    system.run(kernel_command(record))
    return keep(record.model_copy(update={"complete": True}))


def kernel_command(record: Record) -> list[str]:
    """nbd-client for a Unix socket: it hands the connection to the kernel and ends."""
    name, socket = export_of(record.uri)
    device = record.device or ""
    command = ["nbd-client", "-unix", socket, device, "-name", name, "-persist", "-timeout", str(TIMEOUT_SECONDS)]
    return [*command, "-readonly"] if record.readonly else command


def export_of(uri: str) -> tuple[str, str]:
    """(export name, socket path) of nbd+unix:///NAME?socket=PATH."""
    parts = urlsplit(uri)
    sockets = parse_qs(parts.query).get("socket", [])
    if parts.scheme != "nbd+unix" or not sockets:
        raise UsageError(
            f"{uri} is not the address of an export on a Unix socket",
            hint="Kernel nbd takes volumes of this machine only; give the command to the agent that runs there.",
        )
    return unquote(parts.path.removeprefix("/")), sockets[0]


# -- nbdfuse and a loop device --------------------------------------------------------------


def _attach_fuse(record: Record, keep: Keep) -> Record:
    assert record.mount_point is not None
    point = Path(record.mount_point)
    point.mkdir(parents=True, exist_ok=True, mode=0o700)
    if system.is_mount(record.mount_point):
        raise ConflictError(f"{point} is a mount point already", hint=f'Unmount it with "fusermount3 -u {point}".')
    options = ["-r"] if record.readonly else []
    with closing(spawn(["nbdfuse", *options, str(point), record.uri], os.environ, _log_path(point))) as process:
        _wait_file(process, point)
    options = ["--read-only"] if record.readonly else []
    device = system.run(["losetup", "-f", "--show", "--direct-io=on", *options, _file(record)])
    return keep(record.model_copy(update={"device": device, "complete": True}))


def _wait_file(process: ServerProcess, point: Path) -> None:
    deadline = time.monotonic() + APPEAR_SECONDS
    while not (point / "nbd").exists():
        if not process.alive():
            words = _log_path(point).read_text(errors="replace").strip().splitlines()
            raise ConflictError(f"nbdfuse ended: {words[-1] if words else 'it said nothing'}", hint=FUSE_HINT)
        if time.monotonic() > deadline:
            raise ConflictError(f"nbdfuse did not show the volume within {APPEAR_SECONDS:g} s", hint=FUSE_HINT)
        time.sleep(POLL_SECONDS)


def _undo_fuse(record: Record, mount_point: str) -> None:
    for device in system.loops_on(_file(record)):
        system.run(["losetup", "-d", device])
    # Not "until the device is free": somebody else may have taken it at once.
    _wait(lambda: not system.loops_on(_file(record)), f"loop devices of {record.volume} to let go")
    if system.is_mount(mount_point):
        # nbdfuse writes out what it has and ends by itself; lazily when there is nobody to write it.
        alive = system.fuse_pid(mount_point) is not None
        system.run(["fusermount3", "-u", *([] if alive else ["-z"]), mount_point])
    else:
        _end_fuse(mount_point, signal.SIGTERM)  # caught before it was ready
    _end_fuse(mount_point, None)
    if system.is_mount(mount_point):
        system.run(["fusermount3", "-u", "-z", mount_point])
    with suppress(FileNotFoundError):
        Path(mount_point).rmdir()
    _log_path(Path(mount_point)).unlink(missing_ok=True)


def _end_fuse(mount_point: str, number: signal.Signals | None) -> None:
    """Send a signal, or wait for an end that was begun, and kill what does not come to it."""
    while (process := system.fuse_process(mount_point)) is not None:
        with closing(process):
            if number is not None:
                process.send(number)
            if not process.wait(END_SECONDS):
                process.send(signal.SIGKILL)
                process.wait(END_SECONDS)
            process.reap()


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + END_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise ConflictError(
                f"waited {END_SECONDS:g} s in vain for {what}",
                hint='See who uses it with "losetup --list" and "lsof", then give the command again.',
            )
        time.sleep(POLL_SECONDS)


def _file(record: Record) -> str:
    return f"{record.mount_point}/nbd"


def _log_path(point: Path) -> Path:
    return point.with_name(point.name + ".log")
