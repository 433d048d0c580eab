"""Applying journals to volumes: decode, merge overwritten areas, write sorted in large runs.

One engine for three uses: destage and crash recovery at the primary, restore
at the secondary. It trusts that the records were verified, keeps no pointers
and syncs nothing; applying the same journals again gives the same volume. Of a
backlog that will be synced at once, writing and writing out go side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from controller.errors import IntegrityError
from controller.journal.kinds import BASE, CLEAR, MARKER
from controller.journal.layout import BLOCK_BYTES, Flag, Records
from controller.journal.volume import JournalVolume
from controller.restore.merge import Pieces, merge
from controller.restore.writeout import Writeout
from controller.volume.backing import Backing

_hot: Any
try:
    from controller.journal import _hot
except ImportError:  # not built: the plain one does the same
    _hot = None

RUN_BYTES_MAX: Final = 32 << 20
BACKLOG_PIECES: Final = 2048  # fewer are written out by the sync before a second thread had begun
PART_PIECES: Final = 64  # of a backlog: written between two words to that thread


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """What was done: journals applied and bytes written (merged data counts once)."""

    journals: int
    bytes_written: int


def apply(
    journal: JournalVolume,
    targets: Mapping[int, Backing],
    first: int,
    last: int,
    *,
    base: bool = True,
    sync_follows: bool = False,
) -> ApplyResult:
    """Apply journals `first` to `last` (inclusive) to the targets by volume index.

    Afterwards each target holds what the volume held after write `last`, if it
    held what it held after any write from `first - 1` to `last` before. OSError
    from a target passes through; then the range must be applied again. Without
    `base` the targets are the volumes that base journals were read from: they
    have that content. With `sync_follows` a backlog begins to be written out.
    """
    records = journal.records(first, last)
    if len(records):
        begin = int(records[0]["data_position"])
        journal.fetch(begin, int(records[-1]["data_position"]) + int(records[-1]["data_blocks"]) - begin)
    written = 0
    for part in _parts(records, base):
        written += _clear(part, targets) if _is_clear(part[0]) else _write(journal, part, targets, sync_follows)
    return ApplyResult(last - first + 1, written)


def _is_clear(record: np.void) -> bool:
    return bool(record["flags"] & CLEAR)


def _parts(records: Records, base: bool) -> Iterator[Records]:
    """Runs of data records, and each zero or trim by itself, in order; markers are left out."""
    taken = (records["kind"] != MARKER) & (records["block_count"] > 0)
    if not base:
        taken &= records["kind"] != BASE
    records = records[taken]
    start = 0
    for clear in np.flatnonzero(records["flags"] & CLEAR).tolist():
        if clear > start:
            yield records[start:clear]
        yield records[clear : clear + 1]
        start = clear + 1
    if start < len(records):
        yield records[start:]


def _target(targets: Mapping[int, Backing], volume: int) -> Backing:
    try:
        return targets[volume]
    except KeyError:
        raise IntegrityError(f"a journal speaks of volume {volume}, which the group does not have") from None


def _clear(part: Records, targets: Mapping[int, Backing]) -> int:
    record = part[0]
    backing = _target(targets, int(record["volume"]))
    offset, count = int(record["volume_lba"]) * BLOCK_BYTES, int(record["block_count"]) * BLOCK_BYTES
    if record["flags"] & Flag.TRIM:
        backing.punch(offset, count)
    else:
        backing.zero(offset, count)
    return 0


def volumes_of(records: Records) -> list[int]:
    """The indices of the volumes that these records, one at least, speak of."""
    volumes = records["volume"]
    one = int(volumes[0])
    return [one] if (volumes == one).all() else np.unique(volumes).tolist()


def _write(journal: JournalVolume, records: Records, targets: Mapping[int, Backing], sync_follows: bool) -> int:
    written = 0
    volumes = volumes_of(records)
    for volume in volumes:
        pieces = merge(records if len(volumes) == 1 else records[records["volume"] == volume])
        backlog = sync_follows and len(pieces.lba) >= BACKLOG_PIECES
        (_write_backlog if backlog else write_pieces)(journal, _target(targets, volume), pieces)
        written += int(pieces.blocks.sum()) * BLOCK_BYTES
    return written


def write_pieces_plainly(journal: JournalVolume, target: Backing, pieces: Pieces) -> None:
    """Write mapped journal data to a volume; pieces that touch go together, up to RUN_BYTES_MAX."""
    begin, end, views = 0, 0, list[memoryview]()
    for lba, position, blocks in zip(
        pieces.lba.tolist(), pieces.position.tolist(), pieces.blocks.tolist(), strict=True
    ):
        offset = lba * BLOCK_BYTES
        if views and (offset != end or end - begin >= RUN_BYTES_MAX):
            target.pwritev(views, begin)
            views = []
        if not views:
            begin = end = offset
        views += journal.data_views(position, blocks)
        end += blocks * BLOCK_BYTES
    if views:
        target.pwritev(views, begin)


def write_pieces_compiled(journal: JournalVolume, target: Backing, pieces: Pieces) -> None:
    """The same in one call, with the interpreter lock released throughout."""
    areas = journal.areas
    _hot.write_pieces(
        target.file,
        areas.map,
        areas.data_start,
        areas.data_bytes,
        np.ascontiguousarray(pieces.lba),
        np.ascontiguousarray(pieces.position),
        np.ascontiguousarray(pieces.blocks),
    )


def write_pieces(journal: JournalVolume, target: Backing, pieces: Pieces) -> None:
    """The quickest way there is; a target that is more than a plain backing store sees each write."""
    compiled = _hot is not None and type(target) is Backing
    (write_pieces_compiled if compiled else write_pieces_plainly)(journal, target, pieces)


def _write_backlog(journal: JournalVolume, target: Backing, pieces: Pieces) -> None:
    with Writeout(target, int(pieces.lba[0]) * BLOCK_BYTES) as writeout:
        for first in range(0, len(pieces.lba), PART_PIECES):
            part = pieces.part(first, first + PART_PIECES)
            write_pieces(journal, target, part)
            end, blocks = int(part.lba[-1] + part.blocks[-1]), int(part.blocks.sum())
            writeout.passed(end * BLOCK_BYTES, blocks * BLOCK_BYTES)
