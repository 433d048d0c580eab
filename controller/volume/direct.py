"""The direct path: host requests straight to the backing store.

Used for volumes outside any group, while acquisition is stopped, and with a
dirty map while the group is suspended. Knows nothing of journals.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from controller.api.words import AcquisitionMode
from controller.errors import StorageError
from controller.journal.kinds import Flag
from controller.volume.dirty import DirtyMap
from controller.volume.host_path import Extent, HostPath, Refusal, ServedVolume


class DirectPath(HostPath):
    """Plain reads, writes and syncs. With a dirty map, a region's bit is durable before its data is written."""

    def __init__(self, dirty: DirtyMap | None = None) -> None:
        super().__init__()
        self.mode = AcquisitionMode.DIRECT if dirty is None else AcquisitionMode.SUSPENDED
        self.dirty = dirty
        self._gate = threading.Condition(threading.Lock())
        self._closed = False
        self._under_way = 0

    def read(self, volume: ServedVolume, buffer: memoryview, offset: int) -> None:
        volume.backing.pread_into(buffer, offset)

    def write(self, volume: ServedVolume, data: memoryview, offset: int, fua: bool) -> Refusal | None:
        return self._change(volume, offset, len(data), fua, lambda: volume.backing.pwrite(data, offset))

    def clear(self, volume: ServedVolume, offset: int, count: int, flag: Flag, fua: bool) -> Refusal | None:
        act = volume.backing.punch if flag == Flag.TRIM else volume.backing.zero
        return self._change(volume, offset, count, fua, lambda: act(offset, count))

    def flush(self, volume: ServedVolume) -> None:
        self.check_failure()
        try:
            volume.backing.sync()
        except OSError as error:
            # The kernel may have dropped the pages: a second sync that succeeds would prove nothing.
            failure = StorageError(
                f"sync of {volume.backing.path} failed: {error.strerror}",
                hint="Look at that disk. Nothing is acknowledged as durable until the server starts anew.",
                volume=volume.name,
            )
            self.fail(failure)
            raise failure from error

    def extents(self, volume: ServedVolume, offset: int, count: int) -> list[Extent]:
        return volume.backing.extents(offset, count)

    def close_gate(self) -> None:
        with self._gate:
            self._closed = True
            self._gate.wait_for(lambda: self._under_way == 0)

    def open_gate(self) -> None:
        with self._gate:
            self._closed = False

    def _change(
        self, volume: ServedVolume, offset: int, count: int, fua: bool, act: Callable[[], None]
    ) -> Refusal | None:
        with self._gate:
            self.check_failure()
            if self._closed:
                return Refusal.SUPERSEDED
            self._under_way += 1
        try:
            if self.dirty is not None:
                self._mark(self.dirty, volume, offset, count)
            act()
            if fua:
                self.flush(volume)
        finally:
            with self._gate:
                self._under_way -= 1
                if self._closed:
                    self._gate.notify_all()
        return None

    def _mark(self, dirty: DirtyMap, volume: ServedVolume, offset: int, count: int) -> None:
        try:
            dirty.mark(volume.index, offset, count)
        except StorageError as error:
            self.fail(error)
            raise
