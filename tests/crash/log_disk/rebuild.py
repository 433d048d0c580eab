"""What a power cut may leave on log-writes disks: rebuilt from the log at any point.

Prefix: everything that the disk was given up to the cut, but for what a
failed flush lost. Reorder: everything up to each disk's last flush, and of
the writes after it any subset, each torn in units of 512 or 4096 bytes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.crash.log_disk.log import Entry, Kind

REORDER_SHARE = 0.6
TEAR_UNITS = (512, 4096, 4096)
EXT4_TEAR_UNITS = (4096,)  # an ext4 on the disk itself counts on its 1 KiB superblock being written whole

Images = dict[str, Any]  # of bytearray, or of Sparse


class Sparse:
    """A disk image of which only what was ever written is kept; copies share what they have in common."""

    CHUNK = 64 << 10

    def __init__(self, base: bytes) -> None:
        self.size = len(base)
        self._chunks: dict[int, bytes] = {}
        empty = bytes(self.CHUNK)
        for at in range(0, len(base), self.CHUNK):
            chunk = base[at : at + self.CHUNK]
            if chunk != empty[: len(chunk)]:
                self._chunks[at] = chunk

    def copy(self) -> Sparse:
        other = Sparse(b"")
        other.size, other._chunks = self.size, dict(self._chunks)
        return other

    def __setitem__(self, place: slice, content: bytes | memoryview) -> None:
        done = 0
        while done < len(content):
            at = (place.start + done) // self.CHUNK * self.CHUNK
            start = place.start + done - at
            length = min(self.CHUNK - start, len(content) - done)
            chunk = bytearray(self._chunks.get(at) or min(self.CHUNK, self.size - at))
            chunk[start : start + length] = content[done : done + length]
            self._chunks[at] = bytes(chunk)
            done += length

    def write_to(self, path: Path) -> None:
        """As a file with holes. One that is there is written anew in its place: it may be a loop device's."""
        with path.open("wb") as file:
            file.truncate(self.size)
            for at, chunk in self._chunks.items():
                file.seek(at)
                file.write(chunk)


@dataclass
class _Disk:
    flushed: Any  # as it was at its last flush
    pending: list[Entry] = field(default_factory=list)  # given to it since


@dataclass(frozen=True, slots=True)
class Cut:
    """A power cut: after entry `index`, before the next one, which came at `before_ns`."""

    index: int
    before_ns: int
    mode: str  # prefix, or reorder with its unit and seed: enough to make it again

    def __str__(self) -> str:
        return f"after entry {self.index}, {self.mode}"


class Rebuilder:
    """Walks a log forward; `advance` only goes on, so ask for cuts in order."""

    def __init__(
        self, log: Sequence[Entry], bases: Mapping[str, bytes], kind: Callable[[bytes], Any] = bytearray
    ) -> None:
        self._log = log
        self._next = 0
        self._disks = {name: _Disk(kind(base)) for name, base in bases.items()}

    def advance(self, index: int) -> None:
        """Take every entry up to and with `index`."""
        while self._next <= index:
            entry = self._log[self._next]
            disk = self._disks[entry.disk]
            if entry.kind == Kind.FLUSH:
                for pending in disk.pending:
                    put(disk.flushed, pending, 0, pending.length)
                disk.pending.clear()
            elif entry.kind == Kind.LOST:
                disk.pending.clear()
            else:
                disk.pending.append(entry)
            self._next += 1

    def prefix(self) -> Images:
        """The disks with all they were given so far."""
        images = {}
        for name, disk in self._disks.items():
            image = images[name] = disk.flushed.copy()
            for entry in disk.pending:
                put(image, entry, 0, entry.length)
        return images

    def reorder(self, chooser: random.Random, unit: int) -> Images:
        """The disks with a random part of what was not flushed; each cut is lucky to its own degree."""
        images = {}
        for name, disk in self._disks.items():
            image = images[name] = disk.flushed.copy()
            chance = chooser.choice((0.0, 0.1, 0.5, 0.9, 1.0))
            for entry in disk.pending:
                for start, length in pieces(entry, unit):
                    if chooser.random() < chance:
                        put(image, entry, start, length)
        return images


def pieces(entry: Entry, unit: int) -> Iterator[tuple[int, int]]:
    """An entry cut where the disk's blocks end: (start within the entry, length)."""
    at = 0
    while at < entry.length:
        length = min(unit - (entry.offset + at) % unit, entry.length - at)
        yield at, length
        at += length


def put(image: Any, entry: Entry, start: int, length: int) -> None:
    """Write part of an entry into an image."""
    at = entry.offset + start
    image[at : at + length] = entry.data[start : start + length] if entry.kind == Kind.WRITE else bytes(length)


def cuts(
    log: Sequence[Entry],
    count: int,
    seed: int,
    within: Sequence[tuple[int, int]] = (),
    units: Sequence[int] = TEAR_UNITS,
) -> list[Cut]:
    """`count` cuts in order and in both modes, spread over the whole log or over the given times (ns, from and to)."""
    chooser = random.Random(seed)
    points = [i for i, e in enumerate(log) if not within or any(low <= e.time_ns <= high for low, high in within)]
    made = []
    for index in sorted(chooser.choices(points, k=count)) if points else []:
        before_ns = log[index + 1].time_ns if index + 1 < len(log) else log[index].time_ns + 1
        mode = "prefix"
        if chooser.random() < REORDER_SHARE:
            mode = f"reorder {chooser.choice(units)} {chooser.randrange(1 << 32)}"
        made.append(Cut(index, before_ns, mode))
    return made


def states(
    log: Sequence[Entry],
    bases: Mapping[str, bytes],
    wanted: Sequence[Cut],
    kind: Callable[[bytes], Any] = bytearray,
) -> Iterator[tuple[Cut, Images]]:
    """The disks at each cut; `wanted` in order of index."""
    rebuilder = Rebuilder(log, bases, kind)
    for cut in wanted:
        rebuilder.advance(cut.index)
        words = cut.mode.split()
        if words[0] == "prefix":
            yield cut, rebuilder.prefix()
        else:
            yield cut, rebuilder.reorder(random.Random(int(words[2])), int(words[1]))
