"""The ledger file of one pair: JSON lines that are added, and a bound on their size.

Owns the file. A line survives the death of the process that wrote it; that of
a takeover is on the disk when the call returns. A line that a crash cut is
passed over. For one thread at a time.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from controller import durable
from controller.errors import StorageError
from controller.lines import append_line
from hostagent.history.lines import LINE, LagLine, Line, Spreading, TakeoverLine, end_of

FILE_BYTES_MAX: Final = 2 << 20
HOUR_NS: Final = 3_600_000_000_000
DAY_NS: Final = 24 * HOUR_NS
MINUTES_KEPT_NS: Final = 2 * HOUR_NS  # older lag lines become hours when room is needed, then days
HOURS_KEPT_NS: Final = 7 * DAY_NS
TAKEOVERS_MAX: Final = 500
TAIL_BYTES: Final = 64 << 10


class Book:
    def __init__(self, path: Path, bytes_max: int = FILE_BYTES_MAX) -> None:
        self._path = path
        self._bytes_max = bytes_max

    def content(self) -> bytes:
        """The file as it is; `parsed` understands it, and takes longer. StorageError when it cannot be read."""
        with durable.refusals(self._path):
            try:
                return self._path.read_bytes()
            except FileNotFoundError:
                return b""

    def lines(self) -> list[Line]:
        """Everything that is remembered, in the order in which it was written."""
        return parsed(self.content())

    def takeovers(self) -> list[TakeoverLine]:
        lines = [line for line in self.content().splitlines() if b'"takeover"' in line]
        return [line for line in parsed(b"\n".join(lines)) if isinstance(line, TakeoverLine)]

    def last_end_ns(self) -> int:
        """Up to when its lines tell; 0 when there is none. The newest is among the last few."""
        return max(map(end_of, parsed(self.content()[-TAIL_BYTES:])), default=0)

    def append(self, line: Line, *, synced: bool = False) -> None:
        """StorageError when the disk refuses: then it is not there."""
        if append_line(self._path, line.model_dump_json(exclude_defaults=False), synced=synced) > self._bytes_max:
            with suppress(StorageError):  # the line is there; the next one tries again
                self._compact(line)

    def sync(self) -> None:
        """Make what can be read, and the name of the file, durable. StorageError when the disk refuses."""
        with durable.refusals(self._path), self._path.open("rb") as file:
            durable.sync_directory(self._path.parent)
            os.fdatasync(file.fileno())

    def _compact(self, newest: Line) -> None:
        """Old minutes become hours, old hours days; then what is oldest goes, until half of the room is free."""
        lines = _together(self.lines(), HOUR_NS, end_of(newest) - MINUTES_KEPT_NS)
        lines = _together(lines, DAY_NS, end_of(newest) - HOURS_KEPT_NS)
        takeovers = [line for line in lines if isinstance(line, TakeoverLine)][-TAKEOVERS_MAX:]
        room = self._bytes_max // 2 - sum(map(_length, takeovers))
        kept: list[Line] = []
        for line in reversed(lines):
            if isinstance(line, TakeoverLine):
                if line in takeovers:
                    kept.append(line)
                continue
            room -= _length(line)
            if room >= 0:
                kept.append(line)
        content = b"".join(line.model_dump_json().encode() + b"\n" for line in reversed(kept))
        durable.write_bytes(self._path, content)


def _length(line: Line) -> int:
    return len(line.model_dump_json()) + 1


def parsed(content: bytes) -> list[Line]:
    """The lines that can be understood: one may be cut, or of a newer version."""
    found = []
    for line in content.splitlines():
        try:
            found.append(LINE.validate_json(line))
        except ValueError:
            continue
    return found


def _together(lines: list[Line], span_ns: int, before_ns: int) -> list[Line]:
    """Lag lines that are older put together, those of each span at the place of the first."""
    found: list[Line] = []
    places: dict[tuple[str, int], int] = {}
    for line in lines:
        if not isinstance(line, LagLine) or line.until_ns >= before_ns:
            found.append(line)
            continue
        key = (line.pair, line.at_ns // span_ns)
        if key in places:
            first = found[places[key]]
            assert isinstance(first, LagLine)
            found[places[key]] = _sum(first, line)
        else:
            places[key] = len(found)
            found.append(line)
    return found


def _sum(one: LagLine, other: LagLine) -> LagLine:
    def sum_of(a: Spreading, b: Spreading) -> Spreading:
        weights = dict(a.weights)
        for bucket, seconds in b.weights.items():
            weights[bucket] = round(weights.get(bucket, 0.0) + seconds, 3)
        return Spreading(max=max(a.max, b.max), weights=weights)

    return LagLine(
        pair=one.pair,
        at_ns=min(one.at_ns, other.at_ns),
        until_ns=max(one.until_ns, other.until_ns),
        seconds=round(one.seconds + other.seconds, 3),
        lag_seconds=sum_of(one.lag_seconds, other.lag_seconds),
        lag_bytes=sum_of(one.lag_bytes, other.lag_bytes),
    )
