"""Opening what a volume server serves: backing stores, and a journal brought back to order.

Owns the steps between "files on disk" and "ready for the first request",
recovery included. Knows nothing of requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Final

from controller.api.words import SuspendedCause
from controller.errors import ConflictError, IntegrityError, PairvolError, StorageError
from controller.journal.pointers import Pointer, PointerPage, Position
from controller.journal.recovery import recover, scan, wipe_beyond
from controller.journal.volume import JournalVolume
from controller.restore.apply import apply
from controller.units import counted
from controller.volume.backing import Backing
from controller.volume.dirty import DirtyMap
from controller.volume.dirty_file import MapHead, MapState
from controller.volume.host_path import ServedVolume, log
from controller.volume.journaled import JournaledPath
from controller.volume.settings import ErrorPolicy, JournalSettings

REPLAY_RECORDS: Final = 16384


OnBroken = Callable[[JournaledPath], None]


def open_journaled(
    settings: JournalSettings,
    volumes: Sequence[ServedVolume],
    replay: bool,
    on_broken: OnBroken | None = None,
    suspended: MapHead | None = None,
) -> JournaledPath:
    """Open and recover a group's journal; afterwards the backing stores hold all of it, durably.

    Without `replay` (the volumes have been written to past the journal) a
    journal that holds more than the stores is refused. `suspended` is the
    head of the group's dirty map: the stores hold everything up to its
    position, and while host writes are direct, what the journal holds beyond
    it is in the stores and in the bits, and is wiped.
    """
    backings = {volume.index: volume.backing for volume in volumes}
    with ExitStack() as undo:
        with _named("cannot open journal volume", settings.path):
            journal = JournalVolume.open(settings.path, writable=True, group_uuid=settings.group_uuid)
        undo.callback(journal.close)
        with _named("cannot open pointer page", settings.pointers):
            pointers = PointerPage.open(settings.pointers)
        undo.callback(pointers.close)
        checkpoint, durable = pointers.read(Pointer.CHECKPOINT), pointers.read(Pointer.DURABLE)
        with _named("cannot recover journal volume", settings.path):
            if suspended is not None:
                checkpoint = max(checkpoint, suspended.position)
                if suspended.state is not MapState.RESYNC and wipe_beyond(journal, suspended.position.sequence):
                    journal.sync()
            tail = recover(journal, checkpoint, durable)
            journal.sync()  # the stores must not get ahead of the journal, in a recovery neither (I2)
        _check_confirmed(journal, pointers, tail)
        # Told before the stores get any of it: should it go bad after this, that is damage and not a shorter tail.
        pointers.publish(Pointer.JOURNAL_IN, tail)
        pointers.publish(Pointer.DURABLE, tail)
        if tail.sequence > checkpoint.sequence:
            if not replay:
                raise ConflictError(
                    f"journal volume {journal.path} holds {counted(tail.sequence - checkpoint.sequence, 'journal')}"
                    " that the volumes were written past",
                    hint="Give the group a new journal volume and copy the pair anew.",
                )
            _replay(journal, backings, checkpoint, tail)
        _sync(backings)
        with _named("cannot write the header of journal volume", settings.path):
            journal.set_generation(settings.generation)
        broken = on_broken if settings.on_error is ErrorPolicy.SUSPEND else None
        path = JournaledPath(journal, pointers, backings, tail, settings.full_wait_seconds, broken, settings.throttle)
        with _named("cannot write pointer page", settings.pointers):
            path.start()
        undo.pop_all()
        return path


def finish_draining(settings: JournalSettings, volumes: Sequence[ServedVolume], marks: DirtyMap) -> None:
    """Bring what is only in the journal to the stores, reading the journal only; then the group is suspended.

    The disk of that journal may have refused, so nothing in it is believed
    without its checksum, and nothing is written to it.
    """
    backings = {volume.index: volume.backing for volume in volumes}
    journal = JournalVolume.open(settings.path, writable=False, group_uuid=settings.group_uuid)
    try:
        pointers = PointerPage.open(settings.pointers)
        checkpoint, durable = pointers.read(Pointer.CHECKPOINT), pointers.read(Pointer.DURABLE)
        pointers.close()
        bring_to_stores(journal, backings, checkpoint, durable.sequence)
    finally:
        journal.close()
    marks.change(replace(marks.head, state=MapState.SUSPENDED))


def bring_to_stores(journal: JournalVolume, backings: Mapping[int, Backing], after: Position, needed: int) -> Position:
    """Apply every good record after a position; IntegrityError when they do not reach `needed`."""
    tail, damage = scan(journal, after)
    if tail.sequence < needed:
        raise IntegrityError(
            f"journal volume {journal.path} lost what it had taken, from sequence {tail.sequence + 1} on: {damage}",
            hint="Keep the journal volume and look at its disk. The other site may have these journals.",
            sequence=tail.sequence + 1,
            path=journal.path,
        )
    _replay(journal, backings, after, tail)
    _sync(backings)
    return tail


def open_resting(
    settings: JournalSettings, volumes: Sequence[ServedVolume], marks: DirtyMap, on_broken: OnBroken
) -> JournaledPath | None:
    """The journal of a suspended group, so that its space is freed; None when it cannot be had, which hinders no host.

    A journal whose disk refused is left alone until somebody resumes.
    """
    if marks.head.cause is SuspendedCause.ERROR:
        return None
    try:
        resting = open_journaled(settings, volumes, replay=False, on_broken=on_broken, suspended=marks.head)
    except PairvolError as error:
        log.error("pairvol: suspended, and the journal cannot be opened: %s", error.message)
        return None
    resting.close_gate()
    return resting


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
    with _named("cannot bring journals up to", ", ".join(backing.path for backing in backings.values())):
        for first in range(after.sequence + 1, tail.sequence + 1, REPLAY_RECORDS):
            last = min(first + REPLAY_RECORDS - 1, tail.sequence)
            apply(journal, backings, first, last, base=False, sync_follows=True)


def _sync(backings: Mapping[int, Backing]) -> None:
    for backing in backings.values():
        with _named("cannot sync backing store", backing.path):
            backing.sync()


@contextmanager
def _named(doing: str, path: str) -> Iterator[None]:
    """Say which file it was that a disk refused."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{doing} {path}: {(error.strerror or str(error)).lower()}",
            hint="Look at that disk and at the rights of that file; what is journaled is kept.",
            path=path,
        ) from error
