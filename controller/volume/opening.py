"""Opening what a volume server serves: backing stores, and a journal brought back to order.

Owns the steps between "files on disk" and "ready for the first request",
recovery included. Knows nothing of requests.
"""

from __future__ import annotations

import fcntl
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Final

from controller.errors import ConflictError, IntegrityError
from controller.journal.pointers import Pointer, PointerPage, Position
from controller.journal.recovery import recover
from controller.journal.volume import JournalVolume
from controller.restore.apply import apply
from controller.volume import dirty
from controller.volume.backing import Backing
from controller.volume.direct import DirectPath
from controller.volume.dirty import DirtyMap
from controller.volume.host_path import ServedVolume
from controller.volume.journaled import JournaledPath
from controller.volume.settings import JournalSettings, VolumeSettings

REPLAY_RECORDS: Final = 16384


def open_volumes(settings: Sequence[VolumeSettings]) -> list[ServedVolume]:
    """Open the backing stores, each for this server alone."""
    with ExitStack() as undo:
        volumes = []
        for volume in settings:
            backing = Backing.open(volume.path, volume.size_bytes)
            undo.callback(backing.close)
            try:
                fcntl.flock(backing.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConflictError(
                    f"backing store {volume.path} is in use by another process",
                    hint="One server serves a volume; end the other one first.",
                    path=volume.path,
                ) from None
            volumes.append(ServedVolume(volume.index, volume.name, volume.size_bytes, backing, volume.writable))
        undo.pop_all()
        return volumes


def open_journaled(settings: JournalSettings, volumes: Sequence[ServedVolume], replay: bool) -> JournaledPath:
    """Open and recover a group's journal; afterwards the backing stores hold all of it, durably.

    Without `replay` (the volumes have been written to past the journal) a
    journal that holds more than the stores is refused.
    """
    backings = {volume.index: volume.backing for volume in volumes}
    with ExitStack() as undo:
        journal = JournalVolume.open(settings.path, writable=True, group_uuid=settings.group_uuid)
        undo.callback(journal.close)
        pointers = PointerPage.open(settings.pointers)
        undo.callback(pointers.close)
        checkpoint = pointers.read(Pointer.CHECKPOINT)
        if dirty.exists(settings.dirty_map):
            checkpoint = max(checkpoint, _suspended_at(settings))
        tail = recover(journal, checkpoint, pointers.read(Pointer.DURABLE))
        _check_confirmed(journal, pointers, tail)
        if tail.sequence > checkpoint.sequence:
            if not replay:
                raise ConflictError(
                    f"journal volume {journal.path} holds {tail.sequence - checkpoint.sequence} journals"
                    " that the volumes were written past",
                    hint="Give the group a new journal volume and copy the pair anew.",
                )
            _replay(journal, backings, checkpoint, tail)
        for backing in backings.values():
            backing.sync()
        journal.set_generation(settings.generation)
        path = JournaledPath(journal, pointers, backings, tail, settings.full_wait_seconds)
        path.start()
        undo.pop_all()
        return path


def open_suspended(settings: JournalSettings, volumes: Sequence[ServedVolume]) -> tuple[DirectPath, JournaledPath]:
    """A group that was suspended: its journal at rest, its writes direct and tracked."""
    resting = open_journaled(settings, volumes, replay=False)
    resting.close_gate()
    return DirectPath(DirtyMap.open(settings.dirty_map, settings.group_uuid)), resting


def _suspended_at(settings: JournalSettings) -> Position:
    marks = DirtyMap.open(settings.dirty_map, settings.group_uuid)
    marks.close()
    return marks.position


def _check_confirmed(journal: JournalVolume, pointers: PointerPage, tail: Position) -> None:
    confirmed = pointers.read(Pointer.CONFIRMED)
    if confirmed.sequence > tail.sequence:
        raise IntegrityError(
            f"journal volume {journal.path} ends at sequence {tail.sequence},"
            f" but the other site has confirmed up to {confirmed.sequence}",
            hint="This disk lost writes that it had called durable; take over at the other site.",
            sequence=tail.sequence,
            confirmed=confirmed.sequence,
        )


def _replay(journal: JournalVolume, backings: Mapping[int, Backing], after: Position, tail: Position) -> None:
    journal.sync()  # the stores must not get ahead of the journal, in a recovery neither (I2)
    for first in range(after.sequence + 1, tail.sequence + 1, REPLAY_RECORDS):
        apply(journal, backings, first, min(first + REPLAY_RECORDS - 1, tail.sequence))
