"""Volumes that join and leave a group whose other volumes are written meanwhile.

Owns the part of it that only the process with the open journal can do, behind
a closed gate. A volume that joined is in the dirty map, whole, before its
first journal: the other site gets its content by a differential copy, and
restores nothing after the marker that begins that set until it copies. A
volume that left is in no journal after that, and its store holds all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from controller.api.words import SuspendedCause
from controller.errors import ConflictError
from controller.journal.pointers import Position
from controller.volume.changes import Changes
from controller.volume.dirty_file import MapHead, MapState
from controller.volume.host_path import ServedVolume
from controller.volume.refusals import GROUP, WAIT_HINT, no_journal
from controller.volume.settings import VolumeSettings
from controller.volume.stores import open_volumes

if TYPE_CHECKING:
    from controller.volume.journaled import JournaledPath


class Membership(Changes):
    """Changes, and volumes that come and go. Any thread may call anything."""

    def join(self, settings: Sequence[VolumeSettings]) -> list[ServedVolume]:
        """Serve more volumes, journaled; the whole of each is to be copied. Those served already, and marked, stay."""
        from controller.journal.changes import everything

        with self._change:
            wanted = {volume.index: volume.size_bytes for volume in settings}
            served = {volume.index for volume in self.volumes.values()}
            missing = [volume for volume in settings if volume.index not in served]
            if self._marked(wanted):  # a server that died before it was told has the map, and not the volumes
                path = self._path_of_journal("join the group")
                new = open_volumes(missing)
                self._take_on(path, new)
                return new
            path = self._steady("join the group")
            new = open_volumes(missing)
            path.close_gate()
            try:
                position = path.take_checkpoint()
                self._take_on(path, new)
                head = MapHead(position, MapState.RESYNC, SuspendedCause.OPERATOR)
                self._store_map(head, everything(wanted))
            except BaseException:
                for volume in new:
                    self._let_go(path, volume)
                path.open_gate()
                raise
            assert self._marks is not None
            self._mark_resumed(path, self._marks.head)
            path.open_gate()
            return new

    def leave(self, names: Sequence[str]) -> Position:
        """Serve some volumes no more; their stores hold all of them. No journal after the answer speaks of them."""
        with self._change:
            gone = [self.volumes[name] for name in names if name in self.volumes]
            if not gone:
                return self._path_of_journal("leave the group").appender.tail
            if len(gone) == len(self.volumes):
                raise ConflictError(
                    "the last volume does not leave its group",
                    hint='Delete the pair instead: "pairvol pair delete {group}".',
                )
            path = self._steady("leave the group")
            path.close_gate()
            try:
                position = path.take_checkpoint()
                path.pointers.persist()  # a replay begins after this, and meets none of them
                for volume in gone:
                    self._let_go(path, volume)
            finally:
                path.open_gate()
            return position

    def _take_on(self, path: JournaledPath, new: Sequence[ServedVolume]) -> None:
        for volume in new:
            path.destager.take_on(volume.index, volume.backing)
            self.volumes = {**self.volumes, volume.name: volume}

    def _let_go(self, path: JournaledPath, volume: ServedVolume) -> None:
        self.volumes = {name: known for name, known in self.volumes.items() if known is not volume}
        path.destager.let_go(volume.index)
        volume.backing.close()

    def _steady(self, doing: str) -> JournaledPath:
        """The path, when writes are journaled and no changed regions are under way."""
        path = self._path_of_journal(doing)
        if self._marks is not None:
            raise ConflictError(
                f"volumes cannot {doing}: changed regions are not copied yet",
                hint=WAIT_HINT,
            )
        return path

    def _path_of_journal(self, doing: str) -> JournaledPath:
        self._path.check_failure()
        path = self._journaling
        if path is None or path.broken is not None:
            raise no_journal(f"volumes of {GROUP} cannot {doing}", self.mode)
        return path

    def _marked(self, sizes: dict[int, int]) -> bool:
        """Whether the whole of each is in the dirty map."""
        if self._marks is None:
            return False
        try:
            return all(list(self._marks.regions(index)) == [(0, size)] for index, size in sizes.items())
        except KeyError:
            return False
