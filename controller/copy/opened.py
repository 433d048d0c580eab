"""The journal and the pointers of a secondary group: opened for writing, and brought to what is durable.

A pointer says the past after a crash; the records say how far the journal
goes. So whoever opens them finds the end of what is here first.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

from controller.journal.pointers import Pointer, PointerPage
from controller.journal.recovery import recover
from controller.journal.volume import JournalVolume
from controller.restore.space import JournalSpace


@dataclass(frozen=True)
class OpenedJournal:
    """What copy and restore of one group share; one owner for each pointer, so any of their threads may hold it."""

    journal: JournalVolume
    pointers: PointerPage
    space: JournalSpace

    @classmethod
    def open(cls, journal_path: str, pointers_path: str, uuid: str, generation: int, undo: ExitStack) -> Self:
        """Open both under this generation and recover; what was opened is closed by `undo`."""
        journal = JournalVolume.open(journal_path, writable=True, group_uuid=uuid)
        undo.callback(journal.close)
        pointers = PointerPage.open(pointers_path)
        undo.callback(pointers.close)
        journal.set_generation(generation)
        _recover(journal, pointers)
        return cls(journal, pointers, JournalSpace(journal, pointers))


def _recover(journal: JournalVolume, pointers: PointerPage) -> None:
    """Find the end of what is here, and let already_read say so. All of it is durable then."""
    restored, read = pointers.read(Pointer.ALREADY_RESTORED), pointers.read(Pointer.ALREADY_READ)
    tail = recover(journal, restored, read)
    if tail.sequence > read.sequence:
        pointers.publish(Pointer.ALREADY_READ, tail)
    # No request is under way any more.
    pointers.publish(Pointer.READ_SCHEDULED, tail)
    pointers.publish(Pointer.RESTORE_SCHEDULED, restored)
