"""The write path of one volume server: checks requests, and changes between its modes.

Owns which path (direct or journaled) host requests take now, and the changes:
acquisition started and stopped on live volumes, a full journal suspended.
Decides nothing else; how writes are stored is the paths' own business.

A change of mode: close the gate of the old path, bring what it holds to the
backing stores, make the new mode durable, put the new path in place. Requests
that met the closed gate wait for the change and are given to the new path. A
request that still holds the old path when the new one is in place was issued
before the change ended, so a read of the store that it does is concurrent
with every write on the new path, and a flush finds all it speaks of synced.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from controller import durable
from controller.api.models import AcquisitionMode
from controller.errors import CapacityError, ConflictError, NotFoundError, PairvolError, UsageError
from controller.journal.layout import BLOCK_BYTES, Flag
from controller.journal.pointers import Position
from controller.volume import dirty
from controller.volume.direct import DirectPath
from controller.volume.dirty import DirtyMap
from controller.volume.host_path import Extent, HostPath, Refusal, ServedVolume
from controller.volume.journaled import JournaledPath
from controller.volume.opening import open_journaled, open_suspended, open_volumes
from controller.volume.settings import JournalSettings, ServerSettings

REQUEST_BYTES_MAX: Final = 32 << 20


class WritePath:
    """Serves all volumes of one group. Any thread may call anything."""

    def __init__(self, volumes: Sequence[ServedVolume], path: HostPath) -> None:
        self.volumes = {volume.name: volume for volume in volumes}
        self._path = path
        self._journaled: JournaledPath | None = None  # open: in use, or at rest while suspended
        self._journal_settings: JournalSettings | None = None
        self._change = threading.Lock()  # held through a change of mode

    @classmethod
    def open(cls, settings: ServerSettings) -> WritePath:
        """Open everything, recover the journal if there is one, and be ready for requests."""
        volumes = open_volumes(settings.volumes)
        try:
            return cls._open_paths(settings.journal, volumes)
        except BaseException:
            for volume in volumes:
                volume.backing.close()
            raise

    @classmethod
    def _open_paths(cls, journal: JournalSettings | None, volumes: Sequence[ServedVolume]) -> WritePath:
        if journal is None:
            return cls(volumes, DirectPath())
        if journal.acquire and dirty.exists(journal.dirty_map):
            suspended, resting = open_suspended(journal, volumes)
            self = cls(volumes, suspended)
        else:
            resting = open_journaled(journal, volumes, replay=not dirty.exists(journal.dirty_map))
            self = cls(volumes, resting)
        self._journaled, self._journal_settings = resting, journal
        if not journal.acquire:
            self.stop()
        return self

    # host requests: offsets and counts in bytes

    def read(self, volume: ServedVolume, buffer: memoryview, offset: int) -> None:
        """Fill the buffer."""
        count = len(buffer)
        if offset + count > volume.size_bytes:
            raise UsageError(f"read beyond the end of {volume.name}: {count} bytes at {offset}")
        _check_blocks(offset, count, REQUEST_BYTES_MAX)
        self._path.read(volume, buffer, offset)

    def write(self, volume: ServedVolume, data: memoryview, offset: int, fua: bool = False) -> None:
        """Write; acknowledged by returning, durable then if `fua`."""
        count = len(data)
        _check_change(volume, offset, count, REQUEST_BYTES_MAX)
        path = self._path
        refused = path.write(volume, data, offset, fua)
        while refused is not None:
            path = self._next_path(path, refused)
            refused = path.write(volume, data, offset, fua)

    def zero(self, volume: ServedVolume, offset: int, count: int, may_trim: bool, fua: bool = False) -> None:
        """Make a range read as zeros."""
        self._clear(volume, offset, count, Flag.TRIM if may_trim else Flag.ZERO, fua)

    def trim(self, volume: ServedVolume, offset: int, count: int, fua: bool = False) -> None:
        """Give a range's space back; it reads as zeros."""
        self._clear(volume, offset, count, Flag.TRIM, fua)

    def flush(self, volume: ServedVolume) -> None:
        """Make everything acknowledged before, on any connection, durable."""
        self._path.flush(volume)

    def extents(self, volume: ServedVolume, offset: int, count: int) -> list[Extent]:
        """What may hold data, clipped to the range and covering it whole."""
        if offset + count > volume.size_bytes:
            raise UsageError(f"extents beyond the end of {volume.name}: {count} bytes at {offset}")
        return self._path.extents(volume, offset, count)

    def cache(self, volume: ServedVolume, offset: int, count: int) -> None:
        """Read ahead into the page cache."""
        os.posix_fadvise(volume.backing.file, offset, count, os.POSIX_FADV_WILLNEED)

    # commands

    @property
    def mode(self) -> AcquisitionMode:
        """What becomes of host writes now."""
        path = self._path
        return path.mode if path.failure is None else AcquisitionMode.FAILED

    def start(self, settings: JournalSettings) -> Position:
        """Acquisition on: direct writes end, the stores are synced, from then on journal first."""
        with self._change:
            old = self._path
            if self._journaled is not None:
                if old is self._journaled and self._takes(settings):
                    return self._journaled.appender.tail
                raise ConflictError(
                    f"cannot start acquisition: it is {self.mode}, with journal {self._journaled.journal.path}",
                    hint="Stop it first.",
                )
            if dirty.exists(settings.dirty_map):
                raise ConflictError(
                    f"cannot start acquisition: the group is suspended, see {settings.dirty_map}",
                    hint="Changed regions must be copied first.",
                )
            old.check_failure()
            old.close_gate()
            try:
                new = open_journaled(settings, list(self.volumes.values()), replay=False)
            except BaseException:
                old.open_gate()
                raise
            self._journaled, self._journal_settings, self._path = new, settings, new
            return new.appender.tail

    def stop(self) -> None:
        """Acquisition off: everything journaled goes to the stores, then writes are direct and untracked."""
        with self._change:
            old, journaled = self._path, self._journaled
            if journaled is None:
                return
            assert self._journal_settings is not None
            old.check_failure()
            old.close_gate()
            try:
                if old is journaled:
                    journaled.take_checkpoint()
                durable.remove(self._journal_settings.dirty_map)
            except BaseException:
                old.open_gate()
                raise
            self._journaled, self._journal_settings, self._path = None, None, DirectPath()
            journaled.close()

    def flush_all(self) -> Position:
        """Make everything acknowledged on all volumes durable; the journal's durable position."""
        path = self._path
        for volume in self.volumes.values():
            path.flush(volume)
        return self._journaled.commit.durable if self._journaled else Position()

    def checkpoint(self) -> Position:
        """Bring everything acknowledged to the stores, durably, and free the journal space that may be freed."""
        path = self._path
        if isinstance(path, JournaledPath):
            return path.take_checkpoint()
        self.flush_all()
        return self._journaled.destager.checkpoint if self._journaled else Position()

    def set_writable(self, name: str, writable: bool) -> None:
        """Let hosts write to a volume, or refuse them."""
        try:
            self.volumes[name].writable = writable
        except KeyError:
            raise NotFoundError(f"no volume {name} is served here") from None

    def status(self) -> dict[str, Any]:
        """Mode, positions and failure, JSON-ready."""
        path, journaled = self._path, self._journaled
        positions = dict.fromkeys(("appended", "durable", "checkpoint", "journal_out"), Position())
        if journaled is not None:
            positions = {
                "appended": journaled.appender.tail,
                "durable": journaled.commit.durable,
                "checkpoint": journaled.destager.checkpoint,
                "journal_out": journaled.destager.out,
            }
        failure = path.failure
        return {
            "mode": str(self.mode),
            **{name: asdict(position) for name, position in positions.items()},
            "dirty_bytes": path.dirty.dirty_bytes() if isinstance(path, DirectPath) and path.dirty else 0,
            "failure": failure
            and {
                "error": type(failure).__name__,
                "message": failure.message,
                "hint": failure.hint,
                "time_ns": path.failure_ns,
            },
        }

    def close(self) -> None:
        """Everything acknowledged goes to the stores, durably, and everything is closed."""
        with self._change:
            path = self._path
            path.close_gate()
            try:
                if path.failure is None:
                    self.checkpoint()
            finally:
                if self._journaled is not None:
                    self._journaled.close()
                if isinstance(path, DirectPath) and path.dirty is not None:
                    path.dirty.close()
                for volume in self.volumes.values():
                    volume.backing.close()

    # within

    def _clear(self, volume: ServedVolume, offset: int, count: int, flag: Flag, fua: bool) -> None:
        _check_change(volume, offset, count, volume.size_bytes)
        path = self._path
        refused = path.clear(volume, offset, count, flag, fua)
        while refused is not None:
            path = self._next_path(path, refused)
            refused = path.clear(volume, offset, count, flag, fua)

    def _next_path(self, old: HostPath, refused: Refusal) -> HostPath:
        """The path to try next after `old` refused: waits for the change that is under way, or makes it."""
        with self._change:
            if refused is Refusal.FULL and self._path is old:
                assert isinstance(old, JournaledPath)
                self._suspend(old)
            return self._path

    def _takes(self, settings: JournalSettings) -> bool:
        """True when these settings name the journal that is in use, in its generation."""
        present = self._journal_settings
        return present is not None and (present.path, present.generation) == (settings.path, settings.generation)

    def _suspend(self, full: JournaledPath) -> None:
        """Give up journaling (I9). The journal keeps what the other site has not confirmed."""
        assert self._journal_settings is not None
        settings = self._journal_settings
        full.close_gate()
        try:
            position = full.take_checkpoint()
            sizes = {volume.index: volume.size_bytes for volume in self.volumes.values()}
            marks = DirtyMap.create(settings.dirty_map, settings.group_uuid, position, sizes)
        except PairvolError as error:
            full.fail(error)  # neither journaled nor tracked: no write may go on
            raise
        self._path = DirectPath(marks)


def _check_change(volume: ServedVolume, offset: int, count: int, count_max: int) -> None:
    if not volume.writable:
        raise ConflictError(f"volume {volume.name} is not writable here", hint="Write at the primary site.")
    if offset + count > volume.size_bytes:
        raise CapacityError(f"write beyond the end of {volume.name}: {count} bytes at {offset}")
    _check_blocks(offset, count, count_max)


def _check_blocks(offset: int, count: int, count_max: int) -> None:
    if (offset | count) % BLOCK_BYTES or count == 0:
        raise UsageError(f"request of {count} bytes at {offset} is not of whole {BLOCK_BYTES}-byte blocks")
    if count > count_max:
        raise UsageError(f"request of {count} bytes is longer than {count_max}")
