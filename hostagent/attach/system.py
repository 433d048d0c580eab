"""The system's own programs and tables: run with a deadline, read without side effects.

Owns the calls to losetup, nbd-client, nbdfuse and fusermount3, and what
/proc and /sys say about mounts, loop devices and processes. Must not decide.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from controller.errors import CapacityError, ConflictError
from controller.process import ServerProcess, command_line

COMMAND_SECONDS: Final = 20.0


def run(command: Sequence[str]) -> str:
    """Run a program to its end; ConflictError with its own words when it fails or hangs."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
        )
    except FileNotFoundError as error:
        raise ConflictError(f"{command[0]} is not installed", hint='Run "pairvol check".') from error
    except subprocess.TimeoutExpired as error:
        raise ConflictError(
            f"{' '.join(command)} did not end within {COMMAND_SECONDS:g} s", hint='Run "pairvol check".'
        ) from error
    if done.returncode != 0:
        words = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise ConflictError(f"{' '.join(command)} failed: {words}", hint='Run "pairvol check".')
    return done.stdout.strip()


def kernel_nbd() -> bool:
    """Whether this kernel makes block devices of NBD exports."""
    return os.geteuid() == 0 and Path("/dev/nbd0").exists() and shutil.which("nbd-client") is not None


def fuse_and_loop() -> bool:
    """Whether nbdfuse with a loop device can make a block device here."""
    programs = all(shutil.which(name) for name in ("nbdfuse", "fusermount3", "losetup"))
    return programs and os.geteuid() == 0 and all(Path(f"/dev/{node}").exists() for node in ("fuse", "loop-control"))


def mount_points(device: str, process: str = "self") -> list[str]:
    """Where a block device, or one of its partitions, is mounted as a process sees it."""
    found = []
    for line in Path(f"/proc/{process}/mounts").read_text().splitlines():
        source, point = line.split(" ")[:2]
        if source == device or (source.startswith(device) and source[len(device) :].lstrip("p").isdigit()):
            found.append(point.encode().decode("unicode_escape"))
    return found


def mounted_elsewhere(device: str) -> tuple[int, list[str]] | None:
    """A process in whose own mount namespace a device is mounted, and where; None when there is none.

    A namespace that was made while the device was mounted (a container, a
    service with PrivateTmp) has a copy of that mount, which umount here leaves.
    """
    seen = {os.readlink("/proc/self/ns/mnt")}
    for process in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError):  # it ended, or is not ours to read
            namespace = os.readlink(f"/proc/{process}/ns/mnt")
            if namespace not in seen:
                seen.add(namespace)
                if points := mount_points(device, process):
                    return int(process), points
    return None


def name_of(process: int) -> str:
    """What a process calls itself."""
    with suppress(OSError):
        return Path(f"/proc/{process}/comm").read_text().strip()
    return "ended by now"


def holders(device: str) -> list[str]:
    """What is stacked upon a block device (LVM, dm-crypt, md)."""
    with suppress(OSError):
        return sorted(entry.name for entry in Path(f"/sys/block/{Path(device).name}/holders").iterdir())
    return []


def is_mount(point: str) -> bool:
    """Whether something is mounted exactly there; works with a dead FUSE server behind it."""
    return any(line.split()[4] == point for line in Path("/proc/self/mountinfo").read_text().splitlines())


def loop_backing(device: str) -> str | None:
    """The file behind a loop device; None when it is free."""
    with suppress(OSError):
        backing = Path(f"/sys/block/{Path(device).name}/loop/backing_file").read_text().strip()
        return backing.removesuffix(" (deleted)")
    return None


def loops_on(path: str) -> list[str]:
    """Loop devices that have this very file behind them."""
    devices = [f"/dev/{entry.parent.parent.name}" for entry in Path("/sys/block").glob("loop*/loop/backing_file")]
    return [device for device in devices if loop_backing(device) == path]


def fuse_process(mount_point: str) -> ServerProcess | None:
    """A hold on the nbdfuse that serves a mount point, told by its command line; close it after use."""
    for entry in os.listdir("/proc"):
        if not entry.isdecimal() or not _is_fuse(int(entry), mount_point):
            continue
        try:
            held = ServerProcess(int(entry), os.pidfd_open(int(entry)))
        except (OSError, ValueError):
            continue
        if _is_fuse(held.pid, mount_point):  # still, now that the pid cannot be reused
            return held
        held.close()
    return None


def fuse_pid(mount_point: str) -> int | None:
    """The pid of the nbdfuse that serves a mount point; None when there is none."""
    held = fuse_process(mount_point)
    if held is None:
        return None
    held.close()
    return held.pid


def _is_fuse(pid: int, mount_point: str) -> bool:
    """Also what is about to become nbdfuse (controller/launch.py): it has the same words behind others."""
    arguments = command_line(pid)
    return mount_point in arguments and "nbdfuse" in arguments


def free_nbd() -> str:
    """A kernel nbd device that nobody uses."""
    entries = sorted(Path("/sys/block").glob("nbd*"), key=lambda entry: int(entry.name.removeprefix("nbd")))
    for entry in entries:
        size = (entry / "size").read_text().strip()
        if not (entry / "pid").exists() and size == "0":
            return f"/dev/{entry.name}"
    raise CapacityError("every kernel nbd device is in use", hint="Detach one, or load nbd with nbds_max=N.")


def free(device: str) -> bool:
    """Whether nobody has connected this kernel nbd device."""
    return not Path(f"/sys/block/{Path(device).name}/pid").exists()
