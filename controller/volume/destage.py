"""Destage and checkpoint: journaled writes into the backing stores, and journal space freed behind them.

Owns the thread that does it and the positions `destaged`, `checkpoint` and
`out`. The order is the invariant: a segment's journals are durable before any
of them is applied (I2), the stores are synced before CHECKPOINT says so, and
the pointers are synced before space behind them is used again. Knows nothing
of host requests.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from controller.durable import FULL
from controller.errors import PairvolError, StorageError
from controller.journal.layout import BLOCK_BYTES
from controller.journal.pointers import Pointer, PointerPage, Position
from controller.journal.volume import JournalVolume
from controller.restore.apply import apply
from controller.volume.append import AnyAppender
from controller.volume.backing import Backing
from controller.volume.commit import GroupCommit
from controller.volume.overlay import Overlay, Segment

HELD_SEGMENTS: Final = 8  # so many may wait while hosts write, so that destage does not slow a burst of writes
QUIET_SECONDS: Final = 0.05  # without a write: nobody is slowed
CHECKPOINT_SECONDS: Final = 5.0  # the oldest write not yet in a checkpoint
CHECKPOINT_BYTES: Final = 256 << 20
LOOK_SECONDS: Final = 1.0  # between looks at CONFIRMED while something is unconfirmed
ROOM_SECONDS: Final = 1.0  # between two tries on a file system that is full
LOOK_SECONDS_WANTED: Final = 0.005  # the same while a write waits for space

_MAKE_ROOM: Final = (
    "Every write is kept in the journal. Free some space on the file system of the volume: it goes on by itself."
)
_MEND: Final = (
    "Every write is kept in the journal. Mend that disk, then end this volume server (process {pid}): "
    "its controller starts it again."
)


class Destager:
    """The destage thread of one journal.

    `changed` guards the overlay, the appender and everything here that other
    threads see; it is notified whenever a position moves. `fail` is called
    without it, and so is `mend`, with what `fail` was told, when it is over.
    `give_up`, in the same way, is told that the journal frees no space any more.
    """

    def __init__(
        self,
        changed: threading.Condition,
        journal: JournalVolume,
        pointers: PointerPage,
        backings: Mapping[int, Backing],
        overlay: Overlay,
        appender: AnyAppender,
        commit: GroupCommit,
        fail: Callable[[PairvolError], None],
        mend: Callable[[PairvolError], None],
        give_up: Callable[[PairvolError], None],
    ) -> None:
        self.destaged = self.checkpoint = appender.tail
        self.out = Position()
        self.room_wanted = False  # a write waits for journal space
        self._changed = changed
        self._journal = journal
        self._pointers = pointers
        self._backings = backings
        self._overlay = overlay
        self._appender = appender
        self._commit = commit
        self._fail = fail
        self._mend = mend
        self._give_up = give_up
        self._page_failure: StorageError | None = None
        self._destage_wanted = 0
        self._checkpoint_wanted = 0
        self._dirty_since: float | None = None
        self._seen, self._seen_at = appender.sequence, 0.0  # the newest record, and since when it is that
        self._next_look = 0.0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="destage", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def want_destaged(self, sequence: int) -> None:
        """Ask that the stores hold everything up to `sequence` soon (`changed` held)."""
        self._destage_wanted = max(self._destage_wanted, sequence)
        self._changed.notify_all()

    def want_checkpoint(self, sequence: int) -> None:
        """Ask for a checkpoint at or beyond `sequence` (`changed` held)."""
        self._checkpoint_wanted = max(self._checkpoint_wanted, sequence)
        self.want_destaged(sequence)

    def take_on(self, index: int, backing: Backing) -> None:
        """From now on journals may speak of one more volume."""
        self._backings = {**self._backings, index: backing}

    def let_go(self, index: int) -> None:
        """No journal that is not destaged speaks of a volume, and none will."""
        self._backings = {known: backing for known, backing in self._backings.items() if known != index}

    def stop(self) -> None:
        """End the thread after what it is doing; nothing more is destaged."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def take_checkpoint(self) -> None:
        """Sync the stores, move CHECKPOINT to what is destaged, free what every reader has too."""
        position = self.destaged
        for backing in self._backings.values():
            backing.sync()
        self._pointers.publish(Pointer.CHECKPOINT, position)
        with self._changed:
            self.checkpoint = position
            if self._appender.sequence == position.sequence:
                self._dirty_since = None
        self.release_space(checkpoint_moved=True)

    def release_space(self, checkpoint_moved: bool = False) -> None:
        """Move JOURNAL_OUT to the lower of CONFIRMED and CHECKPOINT; durable before the space is used."""
        out = min(self._pointers.read(Pointer.CONFIRMED), self.checkpoint)
        moved = out > self.out
        if moved:
            self._pointers.publish(Pointer.JOURNAL_OUT, out)
        if moved or checkpoint_moved:
            self._persist()
        with self._changed:
            self.out = max(out, self.out)
            self._appender.release(self.out)
            self._next_look = time.monotonic() + (LOOK_SECONDS_WANTED if self.room_wanted else LOOK_SECONDS)
            self._changed.notify_all()

    def _persist(self) -> None:
        try:
            self._pointers.persist()
        except StorageError as error:
            self._page_failure = error
            raise

    def _run(self) -> None:
        try:
            while (step := self._next_step()) is not None:
                step()
        except OSError as error:
            self._fail(self._refused(error, _MEND.format(pid=os.getpid())))
        except PairvolError as error:
            (self._give_up if error is self._page_failure else self._fail)(error)
        except Exception as error:  # noqa: BLE001 - the thread's main: a dead thread must not look like a slow one
            self._fail(StorageError(f"destage ended: {error!r}", hint="Every write is kept in the journal."))

    def _next_step(self) -> Callable[[], None] | None:
        """What to do next, waited for; None at the end."""
        with self._changed:
            while not self._stopping:
                now = time.monotonic()
                self._raise_wanted(now)
                if self._checkpoint_due():
                    return self.take_checkpoint
                if self._destage_wanted >= self._overlay.active.first:
                    self._overlay.freeze(self._appender.tail)
                if self._overlay.frozen and self._destage_due(now):
                    return self._destage
                if self._look_due(now):
                    return self.release_space
                self._changed.wait(self._pause(now))
            return None

    def _destage(self) -> None:
        segment = self._overlay.oldest  # frozen: nobody else changes or drops it
        self._commit.wait(segment.end.sequence)
        if not self._applied(segment):
            return
        with self._changed:
            self._overlay.drop_oldest()
            self.destaged = segment.end
            self._changed.notify_all()

    def _applied(self, segment: Segment) -> bool:
        """Bring a segment to the stores; on a file system without room as soon as there is some. False at the end.

        A write that was refused for want of room may be tried again: the
        journal has it until it is in the stores. A sync is never.
        """
        failure: PairvolError | None = None
        while True:
            try:
                apply(self._journal, self._backings, segment.first, segment.end.sequence, base=False)
            except OSError as error:
                if error.errno not in FULL:
                    raise
                if failure is None:
                    failure = self._refused(error, _MAKE_ROOM)
                    self._fail(failure)
                with self._changed:
                    if self._changed.wait_for(lambda: self._stopping, ROOM_SECONDS):
                        return False
            else:
                if failure is not None:
                    self._mend(failure)
                return True

    def _refused(self, error: OSError, hint: str) -> StorageError:
        words = (error.strerror or str(error)).lower()
        destaged = self.destaged.sequence
        return StorageError(f"cannot bring journals up to the backing store: {words}", hint=hint, destaged=destaged)

    def _raise_wanted(self, now: float) -> None:
        """Want a checkpoint of everything when the oldest write waited long enough, or a write waits for space."""
        tail = self._appender.sequence
        if self._dirty_since is None:
            if tail > self.checkpoint.sequence:
                self._dirty_since = now
        elif now - self._dirty_since >= CHECKPOINT_SECONDS:
            self._checkpoint_wanted = self._destage_wanted = tail
            self._dirty_since = now  # for what is written from here on
        if self.room_wanted:
            self._checkpoint_wanted = self._destage_wanted = tail

    def _destage_due(self, now: float) -> bool:
        """Whether the oldest frozen segment is to go now: asked for, too many wait, or hosts write nothing just now.

        What waits is in the journal like everything else, and reads find it
        there through the overlay.
        """
        if self._destage_wanted >= self._overlay.oldest.first or self._overlay.frozen >= HELD_SEGMENTS:
            return True
        records = self._appender.sequence - self.destaged.sequence
        blocks = self._appender.data_position - self.destaged.data_position
        if records > self._journal.slot_count // 4 or blocks > self._journal.data_blocks // 4:
            return True
        if self._seen != self._appender.sequence:
            self._seen, self._seen_at = self._appender.sequence, now
        return now - self._seen_at >= QUIET_SECONDS

    def _checkpoint_due(self) -> bool:
        if self.destaged.sequence >= self._checkpoint_wanted > self.checkpoint.sequence:
            return True
        records = self.destaged.sequence - self.checkpoint.sequence
        blocks = self.destaged.data_position - self.checkpoint.data_position
        return records > self._journal.slot_count // 4 or blocks > min(
            self._journal.data_blocks // 4, CHECKPOINT_BYTES // BLOCK_BYTES
        )

    def _look_due(self, now: float) -> bool:
        if self.out.sequence == self.checkpoint.sequence:
            return False
        if self.room_wanted:
            self._next_look = min(self._next_look, now + LOOK_SECONDS_WANTED)
        return now >= self._next_look

    def _pause(self, now: float) -> float | None:
        """How long nothing can be due by itself; None: until somebody notifies."""
        due = []
        if self._overlay.frozen:
            due.append(self._seen_at + QUIET_SECONDS - now)
        if self._dirty_since is not None:
            due.append(self._dirty_since + CHECKPOINT_SECONDS - now)
        if self.out.sequence != self.checkpoint.sequence:
            due.append(self._next_look - now)
        return max(0.0, min(due)) if due else None
