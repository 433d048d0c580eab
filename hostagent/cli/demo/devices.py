"""File systems and loop devices of the demonstration, through the system's own programs.

Owns mkfs, fsck, mount and their undoing. What is undone is told by its path:
only mounts and loop devices that lie below a given directory.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path
from typing import Final

from controller.errors import StorageError

COMMAND_SECONDS: Final = 60.0
FSCK_MENDED: Final = 1  # e2fsck: errors were found and mended; replaying the journal alone gives 0


def make_file_system(device: str) -> None:
    """mkfs.ext4, as a user would."""
    _run("mkfs.ext4", "-q", "-F", device)


def mount(device: str, point: Path) -> None:
    """Mount and make the mount point."""
    point.mkdir(parents=True, exist_ok=True)
    _run("mount", "-t", "ext4", device, str(point))


def mount_image(image: Path, point: Path) -> None:
    """Mount a file read-only, after the replay of the file system's own journal."""
    _run("e2fsck", "-p", str(image), check=False)
    point.mkdir(parents=True, exist_ok=True)
    _run("mount", "-t", "ext4", "-o", "loop,ro", str(image), str(point))


def copy_image(source: Path, target: Path) -> None:
    """Copy a sparse file, by reference where the file system can."""
    _run("cp", "--sparse=always", "--reflink=auto", str(source), str(target))


def unmount(point: Path) -> None:
    """Unmount in order; the file system is written out when this returns."""
    _run("umount", str(point))


def check_file_system(device: str) -> list[int]:
    """e2fsck: first replay the file system's own journal, then a full check that changes nothing.

    Returns both exit codes; [0, 0] is a clean file system.
    """
    replay = _run("e2fsck", "-p", device, check=False).returncode
    full = _run("e2fsck", "-fn", device, check=False).returncode
    return [replay, full]


def release(directory: Path) -> list[str]:
    """Undo every mount and loop device below `directory`, also with the server behind them dead.

    Returns what was undone. Order: file systems on our loop devices, the loop
    devices, then what is mounted below the directory itself (FUSE).
    """
    loops = loop_devices(directory)
    undone = [point for source, point in reversed(_mounts()) if source in loops and _detach_mount(point)]
    undone += [loop for loop in loops if _run("losetup", "-d", loop, check=False).returncode == 0]
    return undone + [point for point in reversed(mounts_below(directory)) if _detach_mount(point)]


def loop_devices(directory: Path) -> list[str]:
    """Loop devices whose backing file lies below `directory`."""
    found = []
    for entry in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            backing = entry.read_text().strip()
            if _below(backing.removesuffix(" (deleted)"), directory):
                found.append(f"/dev/{entry.parts[3]}")
    return found


def mounts_below(directory: Path) -> list[str]:
    """Mount points below `directory`."""
    return [point for _, point in _mounts() if _below(point, directory)]


def _detach_mount(point: str) -> bool:
    return _run("umount", "--lazy", point, check=False).returncode == 0


def _mounts() -> list[tuple[str, str]]:
    """(source, mount point) of everything mounted, oldest first."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        head, _, tail = line.partition(" - ")
        found.append((tail.split()[1], head.split()[4].encode().decode("unicode_escape")))
    return found


def _below(path: str, directory: Path) -> bool:
    return path.startswith(str(directory) + os.sep)


def _run(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=COMMAND_SECONDS, env=environment
        )
    except subprocess.TimeoutExpired:
        raise StorageError(f"{command[0]} did not end within {COMMAND_SECONDS:g} s: {' '.join(command)}") from None
    if check and done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise StorageError(f"{command[0]} failed: {words[0] if words else f'exit code {done.returncode}'}")
    return done
