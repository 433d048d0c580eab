"""Where restore is to stand for a while, so that a drill can be opened at a chosen moment.

Behind a journal, behind a marker that need not be there yet, or before the
first journal of a later time. It lasts as long as it is renewed: an agent that
dies in the middle holds nothing up for longer than its last order said. Owns
the choice of the place among verified records; `gate.py` asks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from controller.errors import ConflictError
from controller.journal.kinds import MARKER
from controller.journal.layout import Records
from controller.journal.markers import MarkerKind
from controller.journal.pointers import Position


@dataclass(frozen=True, slots=True)
class End:
    """One of the three is given."""

    sequence: int | None = None  # behind this journal
    marker: str | None = None  # behind the next marker of this name
    time_ns: int | None = None  # before the first journal that is later

    def passed(self, sequence: int, time_ns: int) -> bool:
        """Whether restore at that journal is beyond it."""
        if self.sequence is not None:
            return sequence > self.sequence
        return self.time_ns is not None and time_ns > self.time_ns


class RestoreEnd:
    """Of one group; set under the lock of the volumes, asked by the restore thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end: End | None = None
        self._until = 0.0
        self.sequence: int | None = None  # where it is, once that is known
        self.changes = 0  # how often it was set: records judged before do not count after

    def order(self, end: End | None, seconds: float, applied: Position) -> None:
        """As `set`; ConflictError for one that is behind what is applied, unless restore stands there already."""
        known = self.active and end == self._end
        if end is not None and not known and end.passed(applied.sequence, applied.time_ns):
            raise ConflictError(
                f"cannot stand there: journal {applied.sequence} is restored already",
                hint="Choose a moment that is ahead.",
                restored=applied.sequence,
            )
        self.set(end, seconds)

    def set(self, end: End | None, seconds: float) -> None:
        """Stand there from now on, for so long; None: go on. The same end again lasts longer."""
        if end != self._end or end is None or not self.active:
            self._end, self.sequence = end, end.sequence if end is not None else None
            self.changes += 1
        self._until = self._clock() + seconds

    @property
    def active(self) -> bool:
        return self._end is not None and self._clock() < self._until

    @property
    def found(self) -> int | None:
        """The last journal that is restored, when that is known."""
        return self.sequence if self.active else None

    def seconds_left(self) -> float | None:
        """Until restore goes on by itself; None when nothing holds it here."""
        return max(0.0, self._until - self._clock()) if self.active else None

    def passable(self, records: Records, content: Callable[[Any], dict[str, Any]]) -> int:
        """How many of these records lie before the end; `content` reads a marker."""
        end = self._end
        if end is None or not self.active or not len(records):
            return len(records)
        first, place = int(records[0]["sequence"]), self.sequence
        if place is None:
            place = _place(end, records, content)
            if self._end is end:
                self.sequence = place
        return len(records) if place is None else max(0, min(len(records), place - first + 1))


def _place(end: End, records: Records, content: Callable[[Any], dict[str, Any]]) -> int | None:
    """The journal among these at which restore is to stand."""
    first = int(records[0]["sequence"])
    if end.time_ns is not None:
        later = np.flatnonzero(records["time_ns"] > np.uint64(end.time_ns))
        return first + int(later[0]) - 1 if len(later) else None
    for at in np.flatnonzero(records["kind"] == MARKER).tolist():
        told = content(records[at])
        if told.get("what") == MarkerKind.NAMED and told.get("name") == end.marker:
            return first + int(at)
    return None
