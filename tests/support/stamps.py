"""Order-stamped sectors: whether an image is a prefix of the write history, across all volumes.

Every 512-byte sector of a stamped write carries (volume, LBA, number) and a
checksum. The log holds for each write when it was issued and when it was
acknowledged. From an image alone and the log the checker tells which writes
are visible, and holds them against the rule:

    if a write is visible, every write acknowledged before that one was issued
    is visible too, or overwritten.

Sector (512 bytes, little endian): magic 8 bytes, number u64, LBA u64,
volume u32, CRC-32C u32 of the sector with this field zero, then the number
repeated to the end. A sector of zeros was never written.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from crc32c import crc32c

SECTOR_BYTES = 512
MAGIC = int.from_bytes(b"PVSTAMP1", "little")
SECTOR = np.dtype(
    [("magic", "<u8"), ("number", "<u8"), ("lba", "<u8"), ("volume", "<u4"), ("crc", "<u4"), ("fill", "<u8", (60,))]
)
NEVER_NS = np.iinfo(np.int64).max

assert SECTOR.itemsize == SECTOR_BYTES

Sectors = np.ndarray[Any, np.dtype[np.void]]


def stamp(volume: int, lba: int, sectors: int, number: int) -> bytes:
    """The bytes of write `number` to `sectors` sectors at `lba`."""
    assert number > 0, "number 0 means never written"
    rows = np.zeros(sectors, SECTOR)
    rows["magic"] = MAGIC
    rows["number"] = number
    rows["lba"] = np.arange(lba, lba + sectors)
    rows["volume"] = volume
    rows["fill"] = number
    rows["crc"] = _checksums(rows)
    return rows.tobytes()


def _checksums(rows: Sectors) -> list[int]:
    plain = rows.copy()
    plain["crc"] = 0
    view = memoryview(plain.tobytes())
    return [crc32c(view[at : at + SECTOR_BYTES]) for at in range(0, len(view), SECTOR_BYTES)]


@dataclass(slots=True)
class Write:
    """One write. `settled_ns` is when it was acknowledged, or when it could no longer take effect."""

    number: int
    volume: int
    lba: int
    sectors: int
    issued_ns: int
    settled_ns: int = NEVER_NS
    acknowledged: bool = False


class StampLog:
    """All writes in order of issue; numbers count from 1. Safe for several threads."""

    def __init__(self) -> None:
        self.writes: list[Write] = []
        self._lock = threading.Lock()

    def issue(self, volume: int, lba: int, sectors: int) -> tuple[Write, bytes]:
        """Note a write that is about to be sent; returns it with its bytes."""
        with self._lock:
            number = len(self.writes) + 1
            data = stamp(volume, lba, sectors, number)
            write = Write(number, volume, lba, sectors, time.monotonic_ns())
            self.writes.append(write)
        return write, data

    def acknowledge(self, write: Write) -> None:
        write.settled_ns = time.monotonic_ns()
        write.acknowledged = True

    def abandon(self, write: Write) -> None:
        """The connection is gone: it took effect before now, or never will."""
        write.settled_ns = time.monotonic_ns()

    def acknowledged(self) -> int:
        return sum(write.acknowledged for write in list(self.writes))

    def cut(self) -> list[Write]:
        """A copy of the history as it stands, for a checker that runs while writers go on."""
        with self._lock:
            return [
                Write(w.number, w.volume, w.lba, w.sectors, w.issued_ns, w.settled_ns, w.acknowledged)
                for w in self.writes
            ]


@dataclass
class OrderReport:
    """What the checker saw; `violations` and `torn` count sectors, `corrupt` counts sectors with a bad stamp."""

    sectors: int = 0
    stamped: int = 0
    visible_writes: int = 0
    newest: int = 0
    violations: int = 0
    torn: int = 0
    corrupt: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.violations or self.torn or self.corrupt)

    def __str__(self) -> str:
        text = (
            f"{self.stamped}/{self.sectors} sectors stamped, "
            f"{self.visible_writes} writes visible, newest {self.newest}, "
            f"{self.violations} violations, {self.torn} torn, {self.corrupt} corrupt"
        )
        return "\n".join([text, *self.examples])


Image = bytes | bytearray | memoryview | Path


def read_image(image: Image) -> Sectors:
    data = image.read_bytes() if isinstance(image, Path) else image
    return np.frombuffer(data, SECTOR)


def check_order(images: Mapping[int, Image], writes: Sequence[Write], acknowledged_up_to_ns: int = 0) -> OrderReport:
    """Hold the images (by volume number) against the history.

    With `acknowledged_up_to_ns`, every write acknowledged until then must be
    visible or overwritten as well: nothing may be missing.
    """
    report = OrderReport()
    numbers = {volume: _visible(volume, read_image(image), report) for volume, image in images.items()}
    issued = np.array([0, *(w.issued_ns for w in writes)], np.int64)
    settled = np.array([0, *(w.settled_ns for w in writes)], np.int64)
    visible = np.unique(np.concatenate(list(numbers.values()))).astype(np.int64)
    visible = visible[visible > 0]
    if visible.size and visible[-1] >= issued.size:
        report.corrupt += 1
        report.examples.append(f"number {visible[-1]} was never issued")
        return report
    report.visible_writes, report.newest = int(visible.size), int(visible[-1]) if visible.size else 0
    horizon = max(int(issued[visible].max()) if visible.size else 0, acknowledged_up_to_ns)
    seen = set(visible.tolist())
    for volume, found in numbers.items():
        # For each sector: the latest issue among the writes that must be there, and whose it is.
        needed = np.zeros(found.size, np.int64)
        whose = np.zeros(found.size, np.int64)
        torn_by = np.zeros(found.size, np.int64)
        for write in writes:
            if write.volume != volume:
                continue
            area = slice(write.lba, write.lba + write.sectors)
            if write.acknowledged and write.settled_ns < horizon:
                needed[area], whose[area] = write.issued_ns, write.number
            if write.number in seen:
                torn_by[area] = write.issued_ns
        before = settled[found]  # of never written: 0, before everything
        missing = before < needed
        torn = (before < torn_by) & ~missing
        report.violations += int(missing.sum())
        report.torn += int(torn.sum())
        for lba in np.flatnonzero(missing)[:5]:
            report.examples.append(f"volume {volume} LBA {lba}: write {whose[lba]} must be here, found {found[lba]}")
        for lba in np.flatnonzero(torn)[:5]:
            report.examples.append(f"volume {volume} LBA {lba}: a visible write lacks this sector, found {found[lba]}")
    return report


def _visible(volume: int, rows: Sectors, report: OrderReport) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The write number in each sector, 0 for none; bad stamps are counted and taken as none."""
    report.sectors += rows.size
    numbers = np.zeros(rows.size, np.int64)
    raw = rows.view(np.uint64).reshape(rows.size, SECTOR_BYTES // 8)
    written = np.flatnonzero(raw.any(axis=1))
    report.stamped += int(written.size)
    found = rows[written]
    good = (found["magic"] == MAGIC) & (found["volume"] == volume) & (found["lba"] == written)
    good &= found["crc"] == np.array(_checksums(found), np.uint32)
    numbers[written[good]] = found["number"][good].astype(np.int64)
    for lba in written[~good][:5]:
        report.examples.append(f"volume {volume} LBA {lba}: not a stamp of this place")
    report.corrupt += int((~good).sum())
    return numbers
