"""The ledger file of one pair: JSON lines that are added, and a bound on their size.

Owns the file. A line survives the death of the process that wrote it; that of
a takeover is on the disk when the call returns. A line that a crash cut is
passed over. For one thread at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from controller import durable
from controller.lines import parsed_lines
from hostagent.history.lines import LINE, LagLine, Line, Spreading, TakeoverLine, end_of

FILE_BYTES_MAX: Final = 2 << 20
HOUR_NS: Final = 3_600_000_000_000
MINUTES_KEPT_NS: Final = 24 * HOUR_NS  # older lag lines become hours when room is needed
TAKEOVERS_MAX: Final = 500


class Book:
    def __init__(self, path: Path, bytes_max: int = FILE_BYTES_MAX) -> None:
        self._path = path
        self._bytes_max = bytes_max

    def lines(self) -> list[Line]:
        """Everything that is remembered, in the order in which it was written."""
        return list(self._read())

    def last_end_ns(self) -> int:
        """Up to when its lines tell; 0 when there is none."""
        return max((end_of(line) for line in self._read()), default=0)

    def append(self, line: Line, *, synced: bool = False) -> None:
        """OSError when the disk refuses."""
        content = line.model_dump_json(exclude_defaults=False).encode() + b"\n"
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":  # cut by a crash: begin after it
                content = b"\n" + content
            os.write(descriptor, content)
            if synced:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if size + len(content) > self._bytes_max:
            self._compact(line)

    def _read(self) -> Iterator[Line]:
        for parsed in parsed_lines(self._path):
            try:
                yield LINE.validate_python(parsed)
            except ValueError:  # of a newer version
                continue

    def _compact(self, newest: Line) -> None:
        """Old minutes become hours; then what is oldest goes, until half of the room is free."""
        lines = _hours(self.lines(), end_of(newest) - MINUTES_KEPT_NS)
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


def _hours(lines: list[Line], before_ns: int) -> list[Line]:
    """Lag lines that are older put together, each hour at the place of its first."""
    found: list[Line] = []
    places: dict[tuple[str, int], int] = {}
    for line in lines:
        if not isinstance(line, LagLine) or line.until_ns >= before_ns:
            found.append(line)
            continue
        key = (line.pair, line.at_ns // HOUR_NS)
        if key in places:
            hour = found[places[key]]
            assert isinstance(hour, LagLine)
            found[places[key]] = _together(hour, line)
        else:
            places[key] = len(found)
            found.append(line)
    return found


def _together(one: LagLine, other: LagLine) -> LagLine:
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
