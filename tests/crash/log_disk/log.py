"""The log of a log-writes disk, read back: what was written where, in what order."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

ENTRY = struct.Struct("<QQIHH")  # as in plugin.py, which runs in another interpreter


class Kind(IntEnum):
    WRITE = 1
    ZERO = 2
    FLUSH = 3
    LOST = 4  # a flush that failed: what it should have kept is gone


@dataclass(frozen=True, slots=True)
class Entry:
    """One request as the disk took it. `data` is empty but for a write."""

    time_ns: int
    disk: str
    kind: Kind
    offset: int
    length: int
    data: memoryview


def read_log(path: Path, disks: Sequence[str]) -> list[Entry]:
    """Every whole entry of a log; `disks` are the names in the order of the plugin's command line."""
    return list(_entries(memoryview(path.read_bytes()), disks))


def _entries(raw: memoryview, disks: Sequence[str]) -> Iterator[Entry]:
    at = 0
    while at + ENTRY.size <= len(raw):
        time_ns, offset, length, disk, kind = ENTRY.unpack_from(raw, at)
        at += ENTRY.size
        data = raw[at : at + length] if kind == Kind.WRITE else raw[:0]
        at += len(data)
        yield Entry(time_ns, disks[disk], Kind(kind), offset, length, data)
