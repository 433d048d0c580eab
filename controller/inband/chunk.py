"""One chunk of a run: hold a range off, read it, append what it holds or the digest of that.

A chunk is all or nothing: what is appended of one that came to no end does no
harm, since base records say what is there, and it is done anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from controller.api.runs import Range, RunKind
from controller.inband.digests import LENGTH_BYTES_MAX, UNIT_BYTES, digests_of
from controller.journal.markers import MarkerKind, pack_marker
from controller.journal.pointers import Position
from controller.volume.append import piece_bytes_max
from controller.volume.host_path import ServedVolume
from controller.volume.journaled import JournaledPath

CHUNK_BYTES_MAX: Final = 1 << 20  # host writes to it wait while it is read
PIECE_BYTES_MAX: Final = 128 << 10  # of one base record: other host writes wait while it is appended
HOLE_BYTES_MAX: Final = LENGTH_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Taken:
    """A chunk that is in the journal: bytes of the volume, records, and where its last record ends."""

    length: int
    records: int
    end: Position


class Chunk:
    """Does chunks of one run on one journaled path; for one thread."""

    def __init__(self, path: JournaledPath, run: str, kind: RunKind, gates: int | None = None) -> None:
        """`gates` of the path, read before the volume was looked up."""
        self._path = path
        self._gates = path.gates if gates is None else gates
        self._run = run
        self._base = kind is not RunKind.VERIFY
        self._digest = kind is not RunKind.BASE
        piece = piece_bytes_max(path.journal)
        self._piece_bytes = min(PIECE_BYTES_MAX, piece)
        chunk = min(CHUNK_BYTES_MAX, piece) if self._base else CHUNK_BYTES_MAX
        self._chunk_bytes = max(chunk // UNIT_BYTES, 1) * UNIT_BYTES
        self._records = 0

    def take(self, volume: ServedVolume, left: Range, bytes_done: int) -> Taken | None:
        """Do the first chunk of what is left of a range; None when the journal took not all of it."""
        self._records = 0
        beyond = left.offset % UNIT_BYTES  # chunks end where units of the volume do, so these are named alike
        hole = 0 if beyond else self._hole_bytes(volume, left)
        if hole:
            with self._path.hold_off(volume, left.offset, hole, self._gates):
                if self._path.is_hole(volume, left.offset, hole):
                    end = self._put(volume, left.offset, None, hole, bytes_done)
                    return None if end is None else Taken(hole, self._records, end)
        length = min(left.length, self._chunk_bytes - beyond)
        content = memoryview(bytearray(length))
        with self._path.hold_off(volume, left.offset, length, self._gates):
            self._path.read(volume, content, left.offset)
            end = self._put(volume, left.offset, content, length, bytes_done)
        return None if end is None else Taken(length, self._records, end)

    def _hole_bytes(self, volume: ServedVolume, left: Range) -> int:
        """How long the store has nothing there; a guess, since the journal may."""
        _, length, is_data = volume.backing.extents(left.offset, min(left.length, HOLE_BYTES_MAX))[0]
        if is_data:
            return 0
        return length if length == left.length else length // UNIT_BYTES * UNIT_BYTES

    def _put(
        self, volume: ServedVolume, offset: int, content: memoryview | None, length: int, bytes_done: int
    ) -> Position | None:
        end: Position | None = None
        if self._base:
            pieces = [(0, length, None)] if content is None else self._pieces(content)
            for start, count, data in pieces:
                end = self._path.put_base(volume, offset + start, data, count)
                if end is None:
                    return None
                self._records += 1
        if self._digest:
            digests = "" if content is None else digests_of(content)
            end = self._path.put_note(
                pack_marker(
                    MarkerKind.DIGEST,
                    run=self._run,
                    volume=volume.index,
                    offset=offset,
                    length=length,
                    unit=UNIT_BYTES,
                    digests=digests,
                    bytes_done=bytes_done + length,
                )
            )
            self._records += 1
        return end

    def _pieces(self, content: memoryview) -> list[tuple[int, int, memoryview | None]]:
        """The content as (start, bytes, data), zeros without data."""
        pieces: list[tuple[int, int, memoryview | None]] = []
        for start in range(0, len(content), UNIT_BYTES):
            unit = content[start : start + UNIT_BYTES]
            zero = not np.frombuffer(unit, dtype=np.uint8).any()
            begin, count, data = pieces[-1] if pieces else (0, 0, None)
            together = count + len(unit)
            if pieces and zero == (data is None) and (zero or together <= self._piece_bytes):
                pieces[-1] = (begin, together, None if zero else content[begin : begin + together])
            elif zero:
                pieces.append((start, len(unit), None))
            else:
                for at in range(0, len(unit), self._piece_bytes):
                    part = unit[at : at + self._piece_bytes]
                    pieces.append((start + at, len(part), part))
        return pieces
