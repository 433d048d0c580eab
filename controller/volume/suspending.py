"""How a volume server gives up journaling, and says in band that it goes on (I9).

Owns the order of these steps, and what is in force between them: the path that
takes requests, the open journal, the map of changed regions. When they happen
is controller/volume/modes.py's.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from controller.api.words import SuspendedCause
from controller.errors import PairvolError, StorageError
from controller.journal.markers import MarkerKind, pack_marker
from controller.journal.pointers import Pointer
from controller.volume.direct import DirectPath
from controller.volume.dirty import DirtyMap
from controller.volume.dirty_file import MapHead, MapState
from controller.volume.host_path import HostPath, ServedVolume, log
from controller.volume.settings import JournalSettings

if TYPE_CHECKING:
    from controller.volume.journaled import JournaledPath


class Suspending:
    """What takes host requests. The methods are for who holds `_change`."""

    def __init__(self, volumes: Sequence[ServedVolume], path: HostPath) -> None:
        self.volumes = {volume.name: volume for volume in volumes}
        self._path = path
        self._journaled: JournaledPath | None = None  # open: in use, or at rest while suspended
        self._journal_settings: JournalSettings | None = None
        self._marks: DirtyMap | None = None  # in force: tracking, or the set of a differential copy
        self._change = threading.Lock()  # held through a change of mode

    def _suspend(self, path: JournaledPath, cause: SuspendedCause) -> None:
        """Give up journaling (I9). The journal keeps what the other site has not confirmed.

        Who waits at the gate goes on afterwards, or is told the failure.
        """
        path.close_gate()
        try:
            with suppress(PairvolError):  # for people: without room, or on a disk that refuses, there is none
                path.put_marker(pack_marker(MarkerKind.SUSPENDED, cause=str(cause)))
            position = path.take_checkpoint()
            self._store_map(MapHead(position, MapState.SUSPENDED, cause), {})
        except Exception as error:
            if isinstance(error, PairvolError) and path.broken is not None and path.failure is None:
                self._give_up_journal(path)
                return
            path.fail(_told(error, "cannot suspend"))  # neither journaled nor tracked: no write may go on
            path.open_gate()  # for a failure that may end
            raise
        assert self._marks is not None
        self._path = DirectPath(self._marks)

    def _give_up_journal(self, path: JournaledPath) -> None:
        """The journal's disk refused: bring what it took to the stores and go on without it.

        The other site may count on what was durable, and on that only; so the
        set stands for everything after that. It also takes in everything that
        the other site has not confirmed or that is in no checkpoint, so that
        the set suffices should the journal be lost whole. The bits are
        durable before the first of these writes reaches a store.
        """
        from controller.journal.changes import changed_regions
        from controller.volume.opening import bring_to_stores

        assert path.broken is not None
        path.check_failure()
        note = path.broken.message
        try:
            path.close_gate()
            path.halt()
            sizes = {volume.index: volume.size_bytes for volume in self.volumes.values()}
            backings = {volume.index: volume.backing for volume in self.volumes.values()}
            safe = min(path.pointers.read(Pointer.CONFIRMED), path.destager.checkpoint, path.commit.durable)
            changed, _ = changed_regions(path.journal, safe.sequence + 1, path.appender.sequence, sizes)
            self._store_map(MapHead(path.commit.durable, MapState.DRAINING, SuspendedCause.ERROR, note=note), changed)
            bring_to_stores(path.journal, backings, path.destager.destaged, path.appender.sequence)
            assert self._marks is not None
            self._marks.change(replace(self._marks.head, state=MapState.SUSPENDED))
        except Exception as error:
            failure = error if isinstance(error, PairvolError) else path.broken
            path.fail(failure)  # what was acknowledged is in no safe place: no write may go on
            raise failure from error
        self._path = DirectPath(self._marks)
        self._journaled = None
        path.let_go()
        log.error("pairvol: suspended, changed regions are tracked: %s", note)

    def _store_map(self, head: MapHead, changed: dict[int, bytes]) -> None:
        """The dirty map as it shall be: bits of an earlier set stay, under a new epoch."""
        assert self._journal_settings is not None
        settings = self._journal_settings
        if self._marks is None:
            sizes = {volume.index: volume.size_bytes for volume in self.volumes.values()}
            self._marks = DirtyMap.create(settings.dirty_map, settings.group_uuid, head.position, sizes, head, changed)
        else:
            self._marks.renew(head, changed)

    def _mark_resumed(self, path: JournaledPath, head: MapHead) -> None:
        """In band, before the first write: a secondary restores nothing beyond it until it copies this epoch."""
        try:
            path.put_marker(pack_marker(MarkerKind.RESUMED, epoch=head.epoch, sequence=head.position.sequence))
        except PairvolError as error:
            if path.broken is not None and path.failure is None:
                self._give_up_journal(path)
            else:
                path.fail(error)
            raise


def _told(error: Exception, doing: str) -> PairvolError:
    """The failure of a path for what went wrong."""
    if isinstance(error, PairvolError):
        return error
    words = (error.strerror or str(error)).lower() if isinstance(error, OSError) else repr(error)
    return StorageError(f"{doing}: {words}", hint="Every write is kept in the journal. Look at the disks of the group.")
