"""The journaled path: host writes go into the journal first and to the backing store later.

Owns the one lock whose order is the order of sequence numbers (I1), and what
is done under it: append and overlay. The way in, destaging, group
commit and the byte layout are their own modules. Knows nothing of modes and
of how a full journal is answered: it says FULL.

Why reads are right without a lock around the backing store. What a lookup
finds in the journal is copied under the same hold of the lock, so the space
cannot be given to a newer write meanwhile. What it does not find, with the
lock or without, is in the backing store already, because a segment leaves the
overlay only after all of it was applied. Between the lookup and the read of the
store, the store can only change by the destaging of newer writes to these
blocks; such a write was issued before the read ended and acknowledged after it
began, so the read may return the block from before or after it. Destaging
never brings back older data: segments are applied in order, by one thread.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from controller.api.words import AcquisitionMode
from controller.errors import PairvolError, StorageError
from controller.journal.layout import BLOCK_BYTES, Flag
from controller.journal.pointers import Pointer, PointerPage, Position
from controller.journal.volume import JournalVolume
from controller.volume.append import open_appender, piece_bytes_max
from controller.volume.backing import Backing
from controller.volume.commit import BackgroundSync, GroupCommit
from controller.volume.destage import Destager
from controller.volume.entrance import Entrance
from controller.volume.host_path import Extent, Refusal, ServedVolume, part
from controller.volume.inband import FROZEN_MAX
from controller.volume.overlay import BELOW, ZEROES, Overlay
from controller.volume.throttle import MARK_SHARE

SEGMENT_RECORDS_MAX: Final = 16384
SEGMENT_BYTES_MAX: Final = 64 << 20


class JournaledPath(Entrance):
    """Takes host requests for all volumes of a group whose journal is open and recovered.

    `tail` is the newest record; the backing stores hold everything up to it.
    """

    mode = AcquisitionMode.JOURNAL

    def __init__(
        self,
        journal: JournalVolume,
        pointers: PointerPage,
        backings: Mapping[int, Backing],
        tail: Position,
        full_wait_seconds: float,
        on_broken: Callable[[JournaledPath], None] | None = None,
        throttle: bool = False,  # hold writes back as the journal fills
    ) -> None:
        """`on_broken` is called once, in any thread, when the journal's disk refused; without it the path fails."""
        super().__init__()
        self.journal = journal
        self.pointers = pointers
        self.appender = open_appender(journal, tail)
        self.overlay = Overlay(tail.sequence + 1)
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._full_wait_seconds = full_wait_seconds
        self._throttle = throttle
        if throttle:
            self.appender.free_share = MARK_SHARE
        self._piece_bytes = piece_bytes_max(journal)
        self._segment_records = min(SEGMENT_RECORDS_MAX, max(1, journal.slot_count // 8))
        self._segment_blocks = min(SEGMENT_BYTES_MAX // BLOCK_BYTES, max(1, journal.data_blocks // 8))
        self._on_broken = on_broken
        self._closed = False
        self._busy = False
        self._waiting: deque[object] = deque()
        self.commit = GroupCommit(tail, self._newest, journal.sync, self._publish_durable, self._break)
        self.background = BackgroundSync(self.commit, self._lock, lambda: self.appender.sequence)
        self.destager = Destager(
            self._changed,
            journal,
            pointers,
            backings,
            self.overlay,
            self.appender,
            self.commit,
            self._destage_failed,
            self.mend,
            self._break,
        )

    def start(self) -> None:
        """Take the first checkpoint, which opens the journal's space, and start the threads."""
        self._publish_durable(self.appender.tail)
        self.destager.take_checkpoint()
        self.background.start()
        self.destager.start()

    def close(self) -> None:
        """End the threads and let go of the journal. What is not destaged stays in it."""
        self.halt()
        self.appender.detach()
        self.journal.close()
        self.pointers.close()

    # host requests

    def read(self, volume: ServedVolume, buffer: memoryview, offset: int) -> None:
        block, blocks = volume.first_block + offset // BLOCK_BYTES, len(buffer) // BLOCK_BYTES
        if self.overlay.misses(block, blocks):  # most often, and so a reader waits for no writer
            volume.backing.pread_into(buffer, offset)
            return
        with self._lock:
            pieces = self.overlay.locate(block, blocks)
            if pieces is not None:
                for start, blocks, position in pieces:
                    if position != BELOW:
                        self._read_piece(buffer, start, blocks, position)
        if pieces is None:
            volume.backing.pread_into(buffer, offset)
            return
        for start, blocks, position in pieces:
            if position == BELOW:
                volume.backing.pread_into(part(buffer, start, blocks), offset + start * BLOCK_BYTES)

    def write(self, volume: ServedVolume, data: memoryview, offset: int, fua: bool) -> Refusal | None:
        length = len(data)
        if length <= self._piece_bytes:
            refused = self._append(volume, data, offset // BLOCK_BYTES, length // BLOCK_BYTES)
        else:
            refused = self._append_pieces(volume, data, offset)
        if refused is None and fua:
            self.commit.wait(self.appender.sequence)
        return refused

    def clear(self, volume: ServedVolume, offset: int, count: int, flag: Flag, fua: bool) -> Refusal | None:
        lba, blocks = offset // BLOCK_BYTES, count // BLOCK_BYTES
        with self._lock:
            while self._busy or not self.appender.fits(0) or self._held is not None:
                refused = self._enter(0)
                if refused is not None:
                    return refused
                if self._held is None or not self._held_off(volume.first_block + lba, blocks):
                    break
            try:
                self.appender.clear(volume.index, lba, blocks, flag)
            except OSError as error:
                return self._refused(error)
            self.overlay.active.clear(volume.first_block + lba, blocks)
            self._appended(0)
        if fua:
            self.commit.wait(self.appender.sequence)
        return None

    def flush(self, volume: ServedVolume) -> None:
        self.check_failure()
        self.commit.wait(self.appender.sequence)

    def extents(self, volume: ServedVolume, offset: int, count: int) -> list[Extent]:
        with self._changed:
            sequence = self.appender.sequence
            self.destager.want_destaged(sequence)
            self._wait_until(lambda: self.destager.destaged.sequence >= sequence)
        return volume.backing.extents(offset, count)

    # changes of mode

    def take_checkpoint(self) -> Position:
        """Bring everything appended so far to the backing stores, durably; raises the path's failure."""
        with self._changed:
            sequence = self.appender.sequence
            self.destager.want_checkpoint(sequence)
            self._wait_until(lambda: self.destager.checkpoint.sequence >= sequence)
            return self.destager.checkpoint

    def fail(self, error: PairvolError) -> None:
        with self._changed:
            self._fail_locked(error)

    def mend(self, error: PairvolError) -> None:
        with self._changed:
            super().mend(error)
            self._changed.notify_all()

    def halt(self) -> None:
        """End the threads; what is not destaged is for `let_go`."""
        self.background.stop()
        self.destager.stop()

    def let_go(self) -> None:
        """Everything is in the backing stores: reads look for nothing in the journal any more."""
        with self._changed:
            self.overlay.clear(self.appender.sequence + 1)
            self.appender.detach()
            self.journal.close()
            self.pointers.close()

    # under the lock

    def _append(
        self, volume: ServedVolume, data: memoryview, lba: int, blocks: int, deadline: float | None = None
    ) -> Refusal | None:
        appender = self.appender
        with self._lock:
            while self._busy or not appender.fits(blocks) or self._held is not None:
                refused = self._enter(blocks, deadline)
                if refused is not None:
                    return refused
                if self._held is None or not self._held_off(volume.first_block + lba, blocks):
                    break
            try:
                position = appender.write(volume.index, lba, data, blocks)
            except OSError as error:
                return self._refused(error)
            self.overlay.active.insert(volume.first_block + lba, blocks, position)
            self._appended(blocks)
        return None

    def _append_pieces(self, volume: ServedVolume, data: memoryview, offset: int) -> Refusal | None:
        deadline = time.monotonic() + self._full_wait_seconds  # of the whole request, however many its pieces
        for start in range(0, len(data), self._piece_bytes):
            piece = data[start : start + self._piece_bytes]
            lba, blocks = (offset + start) // BLOCK_BYTES, len(piece) // BLOCK_BYTES
            refused = self._append(volume, piece, lba, blocks, deadline)
            if refused is not None:
                return refused
        return None

    def _appended(self, data_blocks: int) -> None:
        """What follows each record: counts, and waking the threads that did not know of work."""
        segment = self.overlay.active
        segment.records += 1
        segment.data_blocks += data_blocks
        if segment.records >= self._segment_records or segment.data_blocks >= self._segment_blocks:
            self.overlay.freeze(self.appender.tail)
            if self.overlay.frozen >= FROZEN_MAX:
                self._busy = True
            self._changed.notify_all()
        elif segment.records == 1:
            self._changed.notify_all()
        if not self.background.awake:
            self.background.wake()

    def _read_piece(self, buffer: memoryview, start: int, blocks: int, position: int) -> None:
        piece = buffer if blocks * BLOCK_BYTES == len(buffer) else part(buffer, start, blocks)
        if position == ZEROES:
            piece[:] = bytes(len(piece))
        else:
            self.journal.read_into(position, piece)

    def _wait_until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.check_failure()
            if self.broken is not None:
                raise self.broken
            self._changed.wait()

    def _refused(self, error: OSError) -> Refusal:
        """The journal did not take an append; raises when no other path takes it either."""
        failure = self._write_failed(error)
        if self.broken is not None:
            return Refusal.BROKEN
        raise failure from error

    def _write_failed(self, error: OSError) -> PairvolError:
        failure = StorageError(f"cannot write to the journal: {error.strerror}", hint="Look at the journal's disk.")
        self._break_locked(failure)
        return failure

    def _break_locked(self, error: PairvolError) -> None:
        """The journal can take no more: another path must take over, or nothing goes on."""
        if self._on_broken is None:
            self._fail_locked(error)
        elif self.broken is None and self.failure is None:
            self.broken, self._busy = error, True
            self._changed.notify_all()
            self._on_broken(self)

    def _fail_locked(self, error: PairvolError) -> None:
        super().fail(error)
        self._busy = True
        self._changed.notify_all()

    # for the group commit and the destager

    def _break(self, error: PairvolError) -> None:
        with self._changed:
            self._break_locked(error)

    def _destage_failed(self, error: PairvolError) -> None:
        if error is not self.commit.failure:  # else the commit has told
            self.fail(error)

    def _newest(self) -> Position:
        with self._lock:
            return self.appender.tail

    def _publish_durable(self, position: Position) -> None:
        # JOURNAL_IN goes no further than DURABLE: others read the page, and may know of nothing that can be lost (I4).
        self.pointers.publish(Pointer.JOURNAL_IN, position)
        self.pointers.publish(Pointer.DURABLE, position)
