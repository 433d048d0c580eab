"""Room in the secondary's journal: freed space is used again only when its freeing is durable.

Owns the rule "already_restored on the disk before the slot is overwritten": a
power cut can take the pointer page back to its last sync, and the journals
after that pointer must then still be there.
"""

from __future__ import annotations

import threading

from controller.journal.pointers import Pointer, PointerPage, Position
from controller.journal.volume import JournalVolume


class JournalSpace:
    """Free slots and data blocks of an open journal. Any thread may ask."""

    def __init__(self, journal: JournalVolume, pointers: PointerPage) -> None:
        self._journal = journal
        self._pointers = pointers
        self._lock = threading.Lock()
        pointers.persist()  # what a process before us published counts from here on
        self._freed = pointers.read(Pointer.ALREADY_RESTORED)

    def room(self, read: Position) -> tuple[int, int]:
        """How many records and how many blocks of data fit behind `read`."""
        freed = self._freed
        return (
            self._journal.slot_count - (read.sequence - freed.sequence),
            self._journal.data_blocks - (read.data_position - freed.data_position),
        )

    @property
    def reclaimable(self) -> bool:
        """Whether something was freed since the last time that was made durable."""
        return self._pointers.read(Pointer.ALREADY_RESTORED).sequence != self._freed.sequence

    def reclaim(self) -> bool:
        """Make the newest already_restored durable and its space usable; False when nothing was freed."""
        with self._lock:
            restored = self._pointers.read(Pointer.ALREADY_RESTORED)
            if restored.sequence == self._freed.sequence:
                return False
            self._pointers.persist()
            self._freed = restored
            return True
