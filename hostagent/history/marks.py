"""Up to when a pair's past is accounted for, kept where writing costs no disk.

An idle pair writes no line, so a killed agent would not know afterwards how
long it was idle. A mark of twenty digits in a file system in memory tells;
where the run directory is on a disk there are no marks, and time since the
last line counts as not recorded.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

IN_MEMORY: Final = ("tmpfs", "ramfs", "devtmpfs")
DIGITS: Final = 20


class Marks:
    """For one thread at a time; `directory` None: there are none."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._files: dict[str, int] = {}
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    def get(self, group: str) -> int | None:
        """What was set last, also by an agent that was killed."""
        if self._directory is None:
            return None
        try:
            return int((self._directory / group).read_text())
        except (OSError, ValueError):
            return None

    def set(self, group: str, at_ns: int) -> None:
        if self._directory is None:
            return
        if group not in self._files:
            self._files[group] = os.open(self._directory / group, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with suppress(OSError):  # memory is short
            os.pwrite(self._files[group], b"%020d" % at_ns, 0)

    def close(self) -> None:
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()


def in_memory(directory: Path) -> bool:
    """Whether that directory, or where it would be made, is in a file system in memory."""
    path = os.path.realpath(directory)
    mounts = {part.mountpoint: part.fstype for part in psutil.disk_partitions(all=True)}
    while path not in mounts and path != "/":
        path = os.path.dirname(path)
    return mounts.get(path) in IN_MEMORY
