"""The SVOLs of a group as copy and restore share them: one lock, one account of what is durable.

Owns who may write now and whether a sync failed. Knows nothing of journals.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from types import TracebackType

from controller.errors import StorageError
from controller.restore.safepoint import Area, SafePoint
from controller.volume.backing import Backing


class FairLock:
    """A lock that is given in the order it was asked for.

    Initial copy and restore both take the SVOL again at once after giving it
    back; a plain lock would let one of them starve the other.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._next = 0
        self._serving = 0

    @property
    def waiting(self) -> int:
        """How many have asked and not been given the lock yet."""
        with self._changed:
            return max(0, self._next - self._serving - 1)

    def __enter__(self) -> None:
        with self._changed:
            ticket = self._next
            self._next += 1
            self._changed.wait_for(lambda: self._serving == ticket)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._serving += 1
            self._changed.notify_all()


class Targets:
    """The SVOLs of a group by volume index. They stay the caller's to close.

    `lock` is held by whoever writes to a volume. `epoch` counts failed syncs:
    the kernel reports a failed write-back to one caller only and then forgets
    it, so everything that any thread wrote and has not synced in that epoch is
    untrusted. A program notes the epoch when it begins at a durable point and
    hands it to `sync`; when that raises it must begin there again. `guard` is
    the open safe point, which saves what is about to be overwritten.
    """

    def __init__(self, backings: Mapping[int, Backing]) -> None:
        self.backings = dict(backings)
        self.lock = FairLock()
        self.guard: SafePoint | None = None
        self.epoch = 0
        self._sync_lock = threading.Lock()

    @property
    def bytes_total(self) -> int:
        """Length of all volumes together."""
        return sum(backing.size_bytes for backing in self.backings.values())

    def protect(self, areas: Iterable[Area]) -> None:
        """With the lock held, before these areas are written: let the safe point save what they hold."""
        if self.guard is not None:
            self.guard.protect(areas)

    def sync(self, epoch: int, volumes: Iterable[int]) -> None:
        """Make what was written since the caller noted `epoch` survive a power cut."""
        with self._sync_lock:
            if epoch != self.epoch:
                raise StorageError(
                    "an SVOL refused a sync: what was written since the last good one is not trusted",
                    hint="Look at the disk, then order the restore and the copy again.",
                )
            for volume in volumes:
                backing = self.backings[volume]
                try:
                    backing.sync()
                except OSError as error:
                    self.epoch += 1
                    raise refused(backing, error) from error


def refused(backing: Backing, error: OSError) -> StorageError:
    """The error of a volume's disk, in words."""
    return StorageError(
        f"SVOL {backing.path}: {(error.strerror or str(error)).lower()}",
        hint="Look at the disk, then order the restore or the copy again; the journals are kept.",
        path=backing.path,
        errno=error.errno,
    )
