"""nbdkit script: the volume server with one mutant applied, named by PAIRVOL_MUTANT, outside the product."""

from __future__ import annotations

import os
from typing import Any

from controller.journal.pointers import Pointer
from controller.restore.apply import apply
from controller.volume.commit import BackgroundSync
from controller.volume.destage import Destager
from controller.volume.dirty import DirtyMap
from controller.volume.journaled import JournaledPath


def acknowledged_before_journal() -> None:
    """Each write is acknowledged at once and journaled when the next request comes."""
    write, flush = JournaledPath.write, JournaledPath.flush
    kept: list[tuple[Any, bytes, int]] = []

    def journal_kept(path: Any) -> None:
        while kept:
            volume, data, offset = kept.pop()
            write(path, volume, memoryview(data), offset, False)

    def late_write(path: Any, volume: Any, data: memoryview, offset: int, fua: bool) -> None:
        journal_kept(path)
        kept.append((volume, bytes(data), offset))

    def late_flush(path: Any, volume: Any) -> None:
        journal_kept(path)
        flush(path, volume)

    setattr(JournaledPath, "write", late_write)  # noqa: B010
    setattr(JournaledPath, "flush", late_flush)  # noqa: B010


def volume_before_journal() -> None:
    """The stores are written before the journal is durable."""

    def destage(destager: Any) -> None:
        segment = destager._overlay.oldest
        apply(destager._journal, destager._backings, segment.first, segment.end.sequence)
        destager._commit.wait(segment.end.sequence)
        with destager._changed:
            destager._overlay.drop_oldest()
            destager.destaged = segment.end
            destager._changed.notify_all()

    setattr(Destager, "_destage", destage)  # noqa: B010
    setattr(BackgroundSync, "wake", lambda background: None)  # noqa: B010 - else it is durable by chance


def checkpoint_before_destage() -> None:
    """CHECKPOINT says that the stores hold what is about to be written to them."""
    kept = Destager._destage

    def destage(destager: Any) -> None:
        destager._pointers.publish(Pointer.CHECKPOINT, destager._overlay.oldest.end)
        kept(destager)

    setattr(Destager, "_destage", destage)  # noqa: B010


def data_before_mark() -> None:
    """A region is marked as changed only when the next request comes."""
    mark = DirtyMap.mark
    kept: list[tuple[int, int, int]] = []

    def late(marks: Any, index: int, offset: int, count: int) -> None:
        while kept:
            mark(marks, *kept.pop())
        kept.append((index, offset, count))

    setattr(DirtyMap, "mark", late)  # noqa: B010


MUTANTS = {
    "data before mark": data_before_mark,
    "acknowledged before journal": acknowledged_before_journal,
    "volume before journal": volume_before_journal,
    "checkpoint before destage": checkpoint_before_destage,
}

MUTANTS[os.environ["PAIRVOL_MUTANT"]]()

from nbd_plugin.plugin import *  # noqa: E402, F403
