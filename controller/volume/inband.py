"""What pairvol itself appends to the journal, in band: markers, and what ranges of the volumes hold.

A part of the journaled path (its mixin). Owns the hold: one range of one
volume that host writes may not touch for a moment. What is read under a hold
and appended under it is what every journal before left in that range (I1),
because a host write takes its place in the order and becomes readable in one
step, under the path's lock. A hold must end soon: who has one waits for
nothing but the volume's own disk.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from controller.errors import CapacityError, PairvolError
from controller.journal.layout import ALIGN_BLOCKS, BLOCK_BYTES, MARKER_BYTES_MAX, Flag
from controller.journal.pointers import Position
from controller.journal.volume import JournalVolume
from controller.volume.append import AnyAppender
from controller.volume.commit import GroupCommit
from controller.volume.destage import Destager
from controller.volume.host_path import HostPath, ServedVolume
from controller.volume.overlay import Overlay

FROZEN_MAX: Final = 16  # segments waiting for a slow backing store before writes wait too


class InBand(HostPath):
    """Appends beside the host's writes. Any thread may call; one at a time holds a range."""

    journal: JournalVolume
    appender: AnyAppender
    overlay: Overlay
    commit: GroupCommit
    destager: Destager
    _changed: threading.Condition
    _closed: bool
    gates: int = 0  # how often the gate was closed: what was read before is not appended after
    _held: tuple[int, int] | None = None  # blocks of the group, half-open: host writes wait
    _held_since: int = 0  # value of `gates` before the volume was looked up

    @contextmanager
    def hold_off(self, volume: ServedVolume, offset: int, length: int, gates: int) -> Iterator[None]:
        """While this lasts no host write touches the range; those to other places go on.

        Nothing can be put under it once the gate was closed after `gates` was
        read: the volume may have left the group.
        """
        first = volume.first_block + offset // BLOCK_BYTES
        with self._changed:
            assert self._held is None
            self._held, self._held_since = (first, first + length // BLOCK_BYTES), gates
        try:
            yield
        finally:
            with self._changed:
                self._held = None
                self._changed.notify_all()

    def _held_off(self, first: int, blocks: int) -> bool:
        """Under the lock: wait while these blocks are held; whether it was necessary."""
        held = self._held
        if held is None or first >= held[1] or first + blocks <= held[0]:
            return False
        self._changed.wait_for(lambda: self._held is not held)
        return True

    def is_hole(self, volume: ServedVolume, offset: int, length: int) -> bool:
        """Whether a held range reads as zeros without a look at data."""
        with self._changed:
            if self.overlay.locate(volume.first_block + offset // BLOCK_BYTES, length // BLOCK_BYTES) is not None:
                return False
        return not any(is_data for _, _, is_data in volume.backing.extents(offset, length))

    def put_base(self, volume: ServedVolume, offset: int, data: memoryview | None, length: int) -> Position | None:
        """Append what a held range holds (no data: zeros); None when there is no room or the gate is closed.

        The volume has that content already, so the overlay is not told, and
        destage leaves it out.
        """
        blocks = 0 if data is None else length // BLOCK_BYTES
        with self._changed:
            if not self._may_put(blocks):
                return None
            try:
                if data is None:
                    self.appender.base_clear(volume.index, offset // BLOCK_BYTES, length // BLOCK_BYTES, Flag.TRIM)
                else:
                    self.appender.base(volume.index, offset // BLOCK_BYTES, data, blocks)
            except OSError as error:
                raise self._write_failed(error) from error
            self._appended(blocks)
            return self.appender.tail

    def put_note(self, payload: bytes) -> Position | None:
        """Append a marker, durable with the journals after it; None as `put_base`."""
        with self._changed:
            blocks = self._marker_blocks(payload)
            if not self._may_put(blocks):
                return None
            return self._put_marker(payload, blocks)

    def put_marker(self, payload: bytes) -> Position:
        """Append control information, also behind a closed gate; durable when this returns."""
        with self._changed:
            self.check_failure()
            blocks = self._marker_blocks(payload)
            if not self.appender.has_room(blocks):
                raise CapacityError(f"no room for a marker in journal {self.journal.path}", hint="Let it be copied.")
            tail = self._put_marker(payload, blocks)
        self.commit.wait(tail.sequence)
        return tail

    def used_share(self) -> float:
        """How much of the journal is in use: 0 to 1."""
        return self.appender.fill_share

    def wait_freed(self, share: float, seconds: float) -> bool:
        """Wait until no more than a share of the journal is in use, at most so long; whether it is."""
        with self._changed:
            if self.used_share() <= share:
                return True
            self.destager.room_wanted = True
            self._changed.notify_all()
            freed = self._changed.wait_for(lambda: self.used_share() <= share, seconds)
            self.destager.room_wanted = False
            return freed

    def _marker_blocks(self, payload: bytes) -> int:
        """As many as end with a page, where there is room: writes of whole pages then lie on whole pages again.

        Else each of them touches two, and a journal that is larger than memory is read for both before it is written.
        """
        blocks = -(-len(payload) // BLOCK_BYTES)
        whole = blocks + -(self.appender.data_position + blocks) % ALIGN_BLOCKS
        return whole if whole * BLOCK_BYTES <= MARKER_BYTES_MAX and self.appender.has_room(whole) else blocks

    def _put_marker(self, payload: bytes, blocks: int) -> Position:
        try:
            self.appender.marker(payload.ljust(blocks * BLOCK_BYTES, b"\0"), blocks)
        except OSError as error:
            raise self._write_failed(error) from error
        self._appended(blocks)
        return self.appender.tail

    def _may_put(self, blocks: int) -> bool:
        self.check_failure()
        if self._closed or self.broken is not None or self.overlay.frozen >= FROZEN_MAX:
            return False
        if self._held is not None and self.gates != self._held_since:
            return False
        return self.appender.fits(blocks)

    @abstractmethod
    def _appended(self, data_blocks: int) -> None:
        """What follows each record."""

    @abstractmethod
    def _write_failed(self, error: OSError) -> PairvolError:
        """The journal's disk refused a write: what to raise."""
