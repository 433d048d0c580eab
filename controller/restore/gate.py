"""How far restore may go in a group whose volumes changed beside the journal.

Two things hold it back until a differential copy has begun that makes up for
them: a marker "resumed" in the journal (before it the primary's regions
changed without journals), and regions of this site's own that changed (hosts
wrote to the secondary, or it was a primary). And it pauses while hosts use
the volumes, or images of them. Owns these facts while the group is open; where they are kept is
controller/copy/resync.py's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from controller.journal.kinds import MARKER
from controller.journal.layout import Records
from controller.journal.markers import MarkerKind, parse_marker
from controller.journal.volume import JournalVolume
from controller.restore.ends import RestoreEnd


@dataclass(frozen=True, slots=True)
class Barrier:
    """A marker that restore may not pass yet."""

    sequence: int
    epoch: str


class RestoreGate:
    """Any thread may ask and set. `on_barrier` is called when restore comes to a marker that it may not pass."""

    def __init__(self, on_barrier: Callable[[], None] = lambda: None) -> None:
        self._on_barrier = on_barrier
        self.split = False  # hosts use the volumes
        self.held = False  # images of the volumes are open: they must stand still
        self.own_changes = False  # regions here differ from every state of the primary
        self.waiting: Barrier | None = None  # restore stands before it
        self.end = RestoreEnd()  # where restore is to stand for a while
        self.skips = 0  # a whole copy stands for the journals up to here: they are passed, not applied
        self._covers = 0
        self._lock = threading.Lock()

    @property
    def closed(self) -> bool:
        """Whether nothing at all may be restored now."""
        return self.split or self.held or self.own_changes

    @property
    def covers(self) -> int:
        return self._covers

    @property
    def changes(self) -> int:
        """Records that were found passable before this changed have to be asked for again."""
        return self.end.changes

    def cover(self, sequence: int) -> None:
        """A copy has begun that makes up for every marker up to a sequence."""
        with self._lock:
            self._covers = max(self._covers, sequence)
            if self.waiting is not None and self.waiting.sequence <= self._covers:
                self.waiting = None

    def passable(self, journal: JournalVolume, records: Records) -> int:
        """How many of these verified records may be restored; notes the marker that the next one is."""
        records = records[: self.end.passable(records, lambda record: _content(journal, record))]
        for at in np.flatnonzero(records["kind"] == MARKER).tolist():
            content = _content(journal, records[at])
            sequence = int(records[at]["sequence"])
            if content.get("what") == MarkerKind.RESUMED and sequence > self._covers:
                barred = False
                with self._lock:
                    if sequence > self._covers:
                        self.waiting = Barrier(sequence, str(content.get("epoch")))
                        barred = True
                if barred:
                    self._on_barrier()
                    return int(at)
        return len(records)


def _content(journal: JournalVolume, record: Any) -> dict[str, Any]:
    views = journal.data_views(int(record["data_position"]), int(record["data_blocks"]))
    return parse_marker(b"".join(views))
