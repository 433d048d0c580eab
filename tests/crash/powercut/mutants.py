"""Broken write paths, each in one way, for the suites that must catch them.

Applied inside the server by `mutant_server.py` or, for recovery, in the
process that recovers. Nothing of the product knows of them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from controller import durable
from controller.journal import recovery
from controller.journal.pointers import Pointer, PointerPage
from controller.journal.volume import JournalVolume
from controller.restore import apply as applying
from controller.restore.apply import apply
from controller.restore.merge import merge
from controller.volume import opening
from controller.volume.commit import BackgroundSync, GroupCommit
from controller.volume.destage import Destager
from controller.volume.direct import DirectPath
from controller.volume.dirty import DirtyMap
from controller.volume.journaled import JournaledPath


def flush_does_nothing() -> None:
    setattr(JournaledPath, "flush", lambda self, volume: None)  # noqa: B010 - mypy forbids the plain assignment


def sync_does_nothing() -> None:
    setattr(JournalVolume, "sync", lambda self: None)  # noqa: B010


def volume_before_journal() -> None:
    """The stores are written before the journal of it is durable; at once, as what waits is durable by then."""

    def destage(self: Any) -> None:
        segment = self._overlay.oldest
        apply(self._journal, self._backings, segment.first, segment.end.sequence)
        self._commit.wait(segment.end.sequence)
        with self._changed:
            self._overlay.drop_oldest()
            self.destaged = segment.end
            self._changed.notify_all()

    setattr(Destager, "_destage", destage)  # noqa: B010
    setattr(Destager, "_destage_due", lambda self, now: True)  # noqa: B010
    setattr(BackgroundSync, "wake", lambda self: None)  # noqa: B010 - else it is durable by chance


def acknowledged_before_journal() -> None:
    """A write is acknowledged first and journaled a little later."""
    kept = JournaledPath.write
    order = threading.Lock()

    def write(self: Any, volume: Any, data: memoryview, offset: int, fua: bool) -> None:
        copied = memoryview(bytes(data))

        def late() -> None:
            threading.Event().wait(0.002)
            with order:
                kept(self, volume, copied, offset, False)

        order.acquire()
        threading.Thread(target=late, daemon=True).start()
        order.release()

    setattr(JournaledPath, "write", write)  # noqa: B010


def checkpoint_before_sync() -> None:
    """CHECKPOINT speaks of stores that are not synced."""

    def take_checkpoint(self: Any) -> None:
        position = self.destaged
        self._pointers.publish(Pointer.CHECKPOINT, position)
        with self._changed:
            self.checkpoint = position
        self.release_space(checkpoint_moved=True)

    setattr(Destager, "take_checkpoint", take_checkpoint)  # noqa: B010


def reuse_before_persist() -> None:
    """Journal space is used again before the pointers that free it are durable."""
    setattr(PointerPage, "persist", lambda self: None)  # noqa: B010


def early_purge() -> None:
    """Space is used again as soon as it is journaled, whatever the checkpoint says."""

    def release_space(self: Any, checkpoint_moved: bool = False) -> None:
        with self._changed:
            self._appender.release(self._appender.tail)
            self.out = self.checkpoint
            self._changed.notify_all()

    setattr(Destager, "release_space", release_space)  # noqa: B010


def replay_before_sync() -> None:
    """Recovery after a kill writes the stores from records that a power cut can still take."""

    def recover(journal: Any, *words: Any) -> Any:
        journal.sync = lambda: None
        return recovery.recover(journal, *words)

    def replay(journal: Any, backings: Any, after: Any, tail: Any) -> None:
        apply(journal, backings, after.sequence + 1, tail.sequence)
        del journal.sync

    setattr(opening, "recover", recover)  # noqa: B010
    setattr(opening, "_replay", replay)  # noqa: B010


def older_data_wins() -> None:
    """Records are applied in the order in which they happen to lie, not in that of their sequence."""
    kept = merge
    setattr(applying, "merge", lambda records: kept(records[::-1]))  # noqa: B010


SERVER_MUTANTS: dict[str, Callable[[], None]] = {
    "flush does nothing": flush_does_nothing,
    "sync does nothing": sync_does_nothing,
    "volume before journal": volume_before_journal,
    "acknowledged before journal": acknowledged_before_journal,
    "checkpoint before sync": checkpoint_before_sync,
    "reuse before the pointers are durable": reuse_before_persist,
    "early purge": early_purge,
    "replay before sync": replay_before_sync,
    "older data wins": older_data_wins,
}


def swallowed_error() -> None:
    """A sync that fails is taken for one that worked."""
    kept = JournalVolume.sync

    def sync(self: Any) -> None:
        try:
            kept(self)
        except OSError:
            pass

    setattr(JournalVolume, "sync", sync)  # noqa: B010


def failure_forgotten() -> None:
    """A failed sync is reported once and then tried again."""

    setattr(JournaledPath, "_fail_locked", lambda self, error: None)  # noqa: B010
    kept = GroupCommit.wait

    def wait(self: Any, sequence: int) -> None:
        self.failure = None
        kept(self, sequence)

    setattr(GroupCommit, "wait", wait)  # noqa: B010


def bit_after_data() -> None:
    """A region's bit is set, and not made durable before the data is written."""

    def store(self: Any, packed: bytes, offset: int) -> None:
        os.pwrite(self._file, packed, offset)

    setattr(DirtyMap, "_store", store)  # noqa: B010


def map_not_durable() -> None:
    """The suspension itself is not made durable before writes go past the journal."""

    def replace(path: Any, content: bytes) -> int:
        Path(path).write_bytes(content)
        return os.open(path, os.O_RDWR)

    setattr(durable, "replace", replace)  # noqa: B010


def map_believed_as_read() -> None:
    """What a server reads of the map when it starts is taken for durable."""
    setattr(DirtyMap, "take_up", DirtyMap.open)  # noqa: B010


def direct_flush_does_nothing() -> None:
    """While suspended, and at the change back to the journal, nothing is synced."""
    setattr(DirectPath, "flush", lambda self, volume: None)  # noqa: B010


SUSPENSION_MUTANTS: dict[str, Callable[[], None]] = {
    "bit after data": bit_after_data,
    "map not durable": map_not_durable,
    "map believed as it is read": map_believed_as_read,
    "flush of direct writes does nothing": direct_flush_does_nothing,
}
ERROR_MUTANTS: dict[str, Callable[[], None]] = {
    "swallowed error": swallowed_error,
    "failure forgotten": failure_forgotten,
}


@contextmanager
def nothing_wiped() -> Iterator[None]:
    """Recovery leaves the records beyond the tail where they are."""
    with patch.object(recovery, "wipe_beyond", lambda journal, sequence: False):
        yield
