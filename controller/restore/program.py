"""The restore program: journals of the secondary's journal volume become the SVOL.

Owns already_restored and restore_scheduled. Knows nothing of the other site:
what lies up to the given limit in the local journal is enough for it.

A crash at any step leaves already_restored at or behind what the SVOL holds,
and applying journals again is harmless, so the program goes on by opening the
files again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from controller.errors import IntegrityError
from controller.journal.kinds import MARKER
from controller.journal.layout import BLOCK_BYTES, Records, group_tag
from controller.journal.markers import MarkerKind, parse_marker
from controller.journal.pointers import Pointer, PointerPage, Position
from controller.journal.volume import JournalVolume
from controller.restore.apply import apply, volumes_of
from controller.restore.gate import RestoreGate
from controller.restore.inspect import RUN_MARKERS, Inspector
from controller.restore.safepoint import Area
from controller.restore.targets import Targets, refused
from controller.restore.verify import Damage, Expectation, check_data, check_records

BATCH_RECORDS: Final = 65536  # of a backlog: the more are merged and sorted, the fewer and longer the writes
BATCH_BLOCKS: Final = (256 << 20) // BLOCK_BYTES
SYNC_SECONDS_MIN: Final = 0.010
BUSY_RECORDS: Final = 128  # more for one sync: fewer syncs are worth more than a younger SVOL
SYNC_SECONDS_BUSY: Final = 0.02
SYNC_SECONDS_MAX: Final = 0.1
SYNC_SHARE: Final = 3  # wait this many times as long as the last sync took


@dataclass(frozen=True, slots=True)
class Marker:
    """A marker journal as it is reported, in order."""

    sequence: int
    time_ns: int
    payload: bytes


class RestoreProgram:
    """Restores one group; for one thread at a time.

    `applied` is what has been written to the SVOL, `restored` what is durable
    there. Markers are handed to `on_markers` before already_restored passes
    them: after a crash they may come again, never not at all.
    """

    def __init__(
        self,
        journal: JournalVolume,
        pointers: PointerPage,
        targets: Targets,
        on_markers: Callable[[list[Marker]], None] = lambda markers: None,
        gate: RestoreGate | None = None,
        inspector: Inspector | None = None,
    ) -> None:
        self._journal = journal
        self._pointers = pointers
        self._targets = targets
        self._on_markers = on_markers
        self._gate = gate or RestoreGate()
        self._inspector = inspector
        self._ahead_to = pointers.read(Pointer.ALREADY_READ).sequence  # an earlier life may have applied up to here
        self.bytes_written = 0
        self.applied = Position()
        self.reset()

    def reset(self) -> None:
        """Begin at the durable point, as after a crash; what was applied beyond it is applied again."""
        self._ahead_to = max(self._ahead_to, self.applied.sequence)
        if self._inspector is not None:
            self._inspector.reset()
        self.restored = self.applied = self._pointers.read(Pointer.ALREADY_RESTORED)
        self._epoch = self._targets.epoch
        self._touched: set[int] = set()
        self._markers: list[Marker] = []
        self._synced_at = 0.0
        self._sync_seconds = 0.0

    @property
    def pending(self) -> bool:
        """True while something was applied and is not yet durable."""
        return self.applied.sequence > self.restored.sequence

    def step(self, limit: int) -> bool:
        """Apply one batch of journals up to sequence `limit`; False when there is none.

        IntegrityError names the first journal that cannot be used; all before
        it are then restored and durable, and none after it is touched.
        """
        first = self.applied.sequence + 1
        end = self._gate.end.found
        last = min(limit if end is None else min(limit, end), self.applied.sequence + BATCH_RECORDS)
        if last < first or self._gate.held:  # nothing is even looked at, however much arrives meanwhile
            return False
        records, damage = self._usable(first, last)
        if not len(records):
            self.settle()
            raise IntegrityError(
                f"journal volume {self._journal.path}: {damage}",
                hint="Nothing at or after it was restored. Keep the journal volume and look at the disk.",
                sequence=first,
                path=self._journal.path,
            )
        seen = self._gate.changes
        records = records[: self._gate.passable(self._journal, records)]
        if not len(records):
            return False
        self._pointers.publish(Pointer.RESTORE_SCHEDULED, _end_of(records))
        stepped = False
        for part in self._parts(records):
            if not self._apply(int(part[0]["sequence"]), _end_of(part), part, seen):
                break
            stepped = True
        return stepped

    def sync_due_seconds(self) -> float:
        """How long until `settle` should be called; syncs may take a part of the time only."""
        busy = self.applied.sequence - self.restored.sequence > BUSY_RECORDS
        least = SYNC_SECONDS_BUSY if busy else SYNC_SECONDS_MIN
        pause = min(max(least, SYNC_SHARE * self._sync_seconds), SYNC_SECONDS_MAX)
        return self._synced_at + pause - time.monotonic()

    def settle(self) -> None:
        """Make what was applied durable in the SVOL, report markers, and move already_restored."""
        if not self.pending:
            return
        started = time.monotonic()
        self._targets.sync(self._epoch, self._touched)
        self._synced_at = time.monotonic()
        self._sync_seconds = self._synced_at - started
        if self._markers:
            self._on_markers(self._markers)
        if self._inspector is not None:
            self._inspector.store()
        self._pointers.publish(Pointer.ALREADY_RESTORED, self.applied)
        self.restored = self.applied
        self._touched, self._markers = set(), []

    def _usable(self, first: int, last: int) -> tuple[Records, Damage]:
        """A batch of bounded size, cut before the first record that is not right."""
        records = self._journal.records(first, last)
        expected = Expectation(
            tag=group_tag(self._journal.header.group_uuid),
            generation_min=1,
            generation_max=self._journal.header.generation,
            volume_blocks={i: b.size_bytes // BLOCK_BYTES for i, b in self._targets.backings.items()},
        )
        good, damage = check_records(records, self.applied, expected)
        ends = records["data_position"][:good] + records["data_blocks"][:good] - np.uint64(self.applied.data_position)
        fitting = max(1, int(np.searchsorted(ends, BATCH_BLOCKS, side="right")))
        records = records[: min(good, fitting)]
        right, data_damage = check_data(self._journal, records)
        return records[:right], data_damage or damage

    def _parts(self, records: Records) -> list[Records]:
        """The batch, cut before and behind each digest."""
        cuts = [0, len(records)]
        for at in np.flatnonzero(records["kind"] == MARKER).tolist():
            if parse_marker(self._payload(records[at])).get("what") == MarkerKind.DIGEST:
                cuts += (at, at + 1)
        places = sorted(set(cuts))
        return [records[start:end] for start, end in pairwise(places)]

    def _payload(self, record: np.void) -> bytes:
        return b"".join(self._journal.data_views(int(record["data_position"]), int(record["data_blocks"])))

    def end_seconds(self) -> float | None:
        """Until restore goes on although it was told an end; None when it was not."""
        return self._gate.end.seconds_left()

    def _apply(self, first: int, end: Position, records: Records, seen: int) -> bool:
        """False when the gate was closed; who holds the lock finds `applied` true."""
        with self._targets.lock:
            if self._gate.closed or self._gate.changes != seen:
                return False
            self._apply_locked(first, end.sequence, records)
            self.applied = end
        return True

    def _apply_locked(self, first: int, last: int, records: Records) -> None:
        marked = records["kind"] == MARKER
        for record in records[marked]:
            marker = Marker(int(record["sequence"]), int(record["time_ns"]), self._payload(record))
            content = parse_marker(marker.payload)
            if self._inspector is None or content.get("what") not in RUN_MARKERS:
                self._markers.append(marker)
            else:  # a digest is alone in its part: everything before it is applied
                self._inspector.pass_marker(marker.sequence, content, marker.sequence <= self._ahead_to)
        writes = records[~marked]
        volumes = volumes_of(writes) if len(writes) else []
        self._touched.update(volumes)
        first = max(first, self._gate.skips + 1)  # looked at here: a window of the copy needs the same lock
        if first > last:
            return
        if self._targets.guard is not None:
            self._targets.protect(_areas(records[records["sequence"] >= first]))
        try:
            applied = apply(self._journal, self._targets.backings, first, last, sync_follows=True)
            self.bytes_written += applied.bytes_written
        except OSError as error:
            backing = self._targets.backings[volumes[0]]
            raise refused(backing, error) from error


def _end_of(records: Records) -> Position:
    end = records[-1]
    return Position(int(end["sequence"]), int(end["data_position"]) + int(end["data_blocks"]), int(end["time_ns"]))


def _areas(records: Records) -> list[Area]:
    writes = records[records["kind"] != MARKER]
    columns = (writes[name].tolist() for name in ("volume", "volume_lba", "block_count"))
    return [
        (volume, lba * BLOCK_BYTES, blocks * BLOCK_BYTES)
        for volume, lba, blocks in zip(*columns, strict=True)
        if blocks
    ]
