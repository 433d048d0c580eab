"""Applying journals to volumes: decode, merge overwritten areas, write sorted in large runs.

One engine for three uses: destage and crash recovery at the primary, restore
at the secondary. It trusts that the records were verified, keeps no pointers
and syncs nothing; applying the same journals again gives the same volume.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from controller.errors import IntegrityError
from controller.journal.kinds import BASE, CLEAR, MARKER
from controller.journal.layout import BLOCK_BYTES, Flag, Records
from controller.journal.volume import JournalVolume
from controller.volume.backing import Backing

_hot: Any
try:
    from controller.journal import _hot
except ImportError:  # not built: the plain one does the same
    _hot = None

RUN_BYTES_MAX: Final = 32 << 20

Blocks = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """What was done: journals applied and bytes written (merged data counts once)."""

    journals: int
    bytes_written: int


def apply(
    journal: JournalVolume, targets: Mapping[int, Backing], first: int, last: int, *, base: bool = True
) -> ApplyResult:
    """Apply journals `first` to `last` (inclusive) to the targets by volume index.

    Afterwards each target holds what the volume held after write `last`, if it
    held what it held after any write from `first - 1` to `last` before. OSError
    from a target passes through; then the range must be applied again. Without
    `base` the targets are the volumes that base journals were read from: they
    have that content.
    """
    records = journal.records(first, last)
    if len(records):
        begin = int(records[0]["data_position"])
        journal.fetch(begin, int(records[-1]["data_position"]) + int(records[-1]["data_blocks"]) - begin)
    written = 0
    for part in _parts(records, base):
        written += _clear(part, targets) if _is_clear(part[0]) else _write(journal, part, targets)
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


def _write(journal: JournalVolume, records: Records, targets: Mapping[int, Backing]) -> int:
    written = 0
    volumes = volumes_of(records)
    for volume in volumes:
        pieces = merge(records if len(volumes) == 1 else records[records["volume"] == volume])
        write_pieces(journal, _target(targets, volume), pieces)
        written += int(pieces.blocks.sum()) * BLOCK_BYTES
    return written


@dataclass(frozen=True, slots=True)
class Pieces:
    """Data to write, in address order: three arrays of one length, all in blocks."""

    lba: Blocks  # first block on the volume
    position: Blocks  # of the data in the journal
    blocks: Blocks


def merge(records: Records) -> Pieces:
    """The newest data for every block that the records write.

    `records` are data records of one volume in sequence order, at least one.
    The work is done in the largest unit that divides every address and length.
    """
    lba = records["volume_lba"].astype(np.int64)
    blocks = records["block_count"].astype(np.int64)
    position = records["data_position"].astype(np.int64)
    unit = int(np.gcd.reduce(np.concatenate((lba, blocks))))
    keys, positions = _expand(lba // unit, blocks // unit, position, unit)
    order = np.argsort(keys, kind="stable")
    keys, positions = keys[order], positions[order]
    newest = np.ones(len(keys), np.bool_)
    np.not_equal(keys[1:], keys[:-1], out=newest[:-1])
    keys, positions = keys[newest], positions[newest]
    begins = np.ones(len(keys), np.bool_)
    np.logical_or(keys[1:] != keys[:-1] + 1, positions[1:] != positions[:-1] + unit, out=begins[1:])
    starts = np.flatnonzero(begins)
    lengths = np.empty(len(starts), np.int64)
    lengths[:-1], lengths[-1] = starts[1:] - starts[:-1], len(keys) - starts[-1]
    return Pieces(keys[starts] * unit, positions[starts], lengths * unit)


def _expand(key: Blocks, count: Blocks, position: Blocks, unit: int) -> tuple[Blocks, Blocks]:
    """One entry for each unit that the records write, in sequence order."""
    if (count == 1).all():
        return key, position
    inner = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(key, count) + inner, np.repeat(position, count) + inner * unit


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
