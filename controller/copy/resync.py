"""What surrounds a differential copy at the secondary, so that a way back is there from its first byte to its last.

Owns the group's safe point, its own dirty map (regions that changed here and
nowhere else) and the gate of its restore: when they come and when they go.
Everything is found again in the files. The copy itself, and its progress, are
controller/copy/initials.py's.

| step | durable | crash after it: next start |
|---|---|---|
| 1 order taken | `pending` in the progress | waits again for restore to reach the order's sequence |
| 2 restore stands at the order's sequence | already_restored | |
| 3 safe point open | `point.json` | goes on with 3a; what restore writes meanwhile is saved first |
| 3a restore let past older markers, if need be | progress: not consistent, own map taken in | goes on restoring |
| 4 copy begun: union of all sets, not consistent, markers covered | progress | copies on, restore passes the marker |
| 5 copy done | progress, consistent_sequence | restore goes on up to there |
| 6 restored up to there | already_restored | goes on with 7 |
| 7 own map and safe point gone | | |
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from controller.api import models
from controller.api.models import CopyState, InitialCopyOrder
from controller.copy.areas import remaining
from controller.copy.progress import Progress
from controller.errors import ConflictError, UsageError
from controller.journal.pointers import Position
from controller.restore.gate import RestoreGate
from controller.restore.safepoint import SafePoint
from controller.restore.targets import Targets
from controller.volume import dirty, regions
from controller.volume.dirty import DirtyMap

SAFE_POINT_DIRECTORY = "safepoint"
MAP_NAME = "dirty"


class Resync:
    """Of one open secondary group.

    `applied` is where restore stands; `urge` asks it to get to a sequence,
    `wake` to look again.
    """

    def __init__(
        self,
        directory: Path,
        group_uuid: str,
        targets: Targets,
        gate: RestoreGate,
        applied: Callable[[], Position],
        urge: Callable[[int], None],
        wake: Callable[[], None],
    ) -> None:
        self._directory = directory
        self._uuid = group_uuid
        self._targets = targets
        self._gate = gate
        self._applied = applied
        self._urge = urge
        self._urged = 0
        self._wake = wake
        self._lock = threading.Lock()
        self._point = SafePoint.open(directory / SAFE_POINT_DIRECTORY, targets.backings)
        if self._point is not None and self._point.rolling_back:
            self._point.close()
            raise ConflictError(
                f"the volumes are on their way back to the safe point at sequence {self._point.position.sequence}",
                hint="Give the takeover again: it goes on.",
            )
        targets.guard = self._point

    def open(self, progress: Progress) -> None:
        """Set the gate as the progress says, which is stored: restore may go on when step 4 is."""
        self._gate.skips = progress.skips
        self._gate.cover(progress.covers)
        own = dirty.head_of(str(self._map), self._uuid)
        self._gate.own_changes = own is not None and own.epoch != progress.own_epoch
        self._wake()

    @staticmethod
    def check(order: InitialCopyOrder) -> None:
        """Refuse an order whose regions cannot be understood."""
        if order.regions is None:
            raise UsageError("a differential copy needs changed regions", hint="Ask the primary for them.")
        regions.from_wire(order.regions)

    def begin(self, previous: Progress, order: InitialCopyOrder) -> Progress | None:
        """Steps 2 to 3a, and the progress that is step 3a or 4 once it is stored; None while restore is not there yet.

        Volumes that were not consistent before have no state to go back to;
        what an earlier copy had left is added. Whatever they are, every
        journal up to the order's sequence is restored before the first byte
        is copied: one that came later would come over changes that no journal
        brings again.
        """
        assert order.regions is not None
        own = self._own_map()
        consistent = previous.state is CopyState.DONE and previous.consistent_sequence is not None
        if consistent and own is None and not self._safe(previous, order.regions.sequence):
            return None
        if not self._caught_up(order.regions.sequence):
            behind = replace(
                previous,
                consistent_sequence=None,
                covers=max(previous.covers, order.regions.sequence),
                own_epoch=own.head.epoch if own is not None else None,
            )
            return behind if behind != previous else None
        sets = [regions.from_wire(order.regions)]
        if own is not None:
            sets.append(own.packed())
        if previous.copies and previous.order is not None:
            sets.append(remaining(previous.order, previous.bytes_done, self._sizes))
        wire = regions.to_wire(regions.union(sets, self._sizes))
        whole = order.model_copy(update={"regions": order.regions.model_copy(update={"volumes": wire})})
        return Progress(
            state=CopyState.RUNNING,
            order=whole,
            covers=max(previous.covers, order.regions.sequence + 1),
            own_epoch=own.head.epoch if own is not None else None,
            run=previous.run if previous.waits_for_run else None,
            run_bytes=previous.run_bytes,
            whole_sequence=previous.whole_sequence,
            skips=previous.skips,
        )

    def _caught_up(self, sequence: int) -> bool:
        """Whether every journal up to there is restored; asks for it once."""
        with self._targets.lock:
            if self._applied().sequence >= sequence:
                return True
        self._urge_once(sequence)
        return False

    def _urge_once(self, sequence: int) -> None:
        if sequence != self._urged:  # once: restore that failed is for a person to order again
            self._urged = sequence
            self._urge(sequence)

    @property
    def own_epoch(self) -> str | None:
        """Of the own dirty map, if there is one."""
        own = self._own_map()
        return own.head.epoch if own is not None else None

    def settle(self, progress: Progress, restored: int) -> bool:
        """Step 7 when it is time; whether the safe point was dropped now."""
        consistent = progress.consistent_sequence
        if progress.state is not CopyState.DONE or progress.pending is not None or consistent is None:
            return False
        if restored < consistent or (self._point is None and progress.own_epoch is None):
            return False
        with self._lock:
            own = self._own_map() if progress.own_epoch is not None else None
            if own is not None and own.head.epoch == progress.own_epoch:
                dirty.forget(own.path)
            point = self._point
            if point is None:
                return False
            with self._targets.lock:
                self._targets.guard = None
            self._point = None
            point.discard()
            return True

    def safe_point(self) -> models.SafePoint:
        point = self._point
        if point is None:
            return models.SafePoint()
        at = point.position
        return models.SafePoint(open=True, sequence=at.sequence, time_ns=at.time_ns, bytes=point.bytes_saved)

    def close(self) -> None:
        if self._point is not None:
            self._point.close()

    @property
    def _map(self) -> Path:
        return self._directory / MAP_NAME

    @property
    def _sizes(self) -> dict[int, int]:
        return {index: backing.size_bytes for index, backing in self._targets.backings.items()}

    def _own_map(self) -> DirtyMap | None:
        if not dirty.exists(str(self._map)):
            return None
        own = DirtyMap.open(str(self._map), self._uuid)
        own.close()
        return own

    def _safe(self, previous: Progress, sequence: int) -> bool:
        """Open the safe point once restore can go no further without the copy; whether the copy may begin.

        That is at the order's sequence, or at the marker of an earlier
        suspension whose regions the order takes in.
        """
        consistent = previous.consistent_sequence or 0
        wanted = max(sequence, consistent)
        with self._lock:
            if self._point is not None:
                return True
            with self._targets.lock:
                applied = self._applied()
                barrier = self._gate.waiting
                barred = barrier is not None and barrier.sequence == applied.sequence + 1
                if applied.sequence >= wanted or (barred and applied.sequence >= consistent):
                    self._targets.sync(self._targets.epoch, self._targets.backings)
                    directory = self._directory / SAFE_POINT_DIRECTORY
                    self._point = SafePoint.begin(directory, self._targets.backings, applied, consistent)
                    self._targets.guard = self._point
                    return True
                if barred:  # before the end of the copy before: there is no consistent state to go back to
                    return True
        self._urge_once(wanted)
        return False
