"""Applying journals to volumes: decode, merge overwritten areas, write sorted in large runs.

One engine for three uses: destage and crash recovery at the primary, restore
at the secondary. It trusts that the records were verified, keeps no pointers
and syncs nothing; applying the same journals again gives the same volume.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from controller.errors import IntegrityError
from controller.journal.layout import BLOCK_BYTES, Flag, Kind, Records
from controller.journal.volume import JournalVolume
from controller.volume.backing import Backing

RUN_BYTES_MAX: Final = 32 << 20

Blocks = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """What was done: journals applied and bytes written (merged data counts once)."""

    journals: int
    bytes_written: int


def apply(journal: JournalVolume, targets: Mapping[int, Backing], first: int, last: int) -> ApplyResult:
    """Apply journals `first` to `last` (inclusive) to the targets by volume index.

    Afterwards each target holds what the volume held after write `last`, if it
    held what it held after any write from `first - 1` to `last` before. OSError
    from a target passes through; then the range must be applied again.
    """
    records = journal.records(first, last)
    written = 0
    for part in _parts(records):
        written += _clear(part, targets) if _is_clear(part[0]) else _write(journal, part, targets)
    return ApplyResult(last - first + 1, written)


def _is_clear(record: np.void) -> bool:
    return bool(record["flags"] & (Flag.ZERO | Flag.TRIM))


def _parts(records: Records) -> Iterator[Records]:
    """Runs of data records, and each zero or trim by itself, in order; markers are left out."""
    records = records[(records["kind"] != Kind.MARKER) & (records["block_count"] > 0)]
    start = 0
    for clear in np.flatnonzero(records["flags"] & (Flag.ZERO | Flag.TRIM)).tolist():
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


def _write(journal: JournalVolume, records: Records, targets: Mapping[int, Backing]) -> int:
    written = 0
    for volume in np.unique(records["volume"]).tolist():
        mine = records[records["volume"] == volume]
        backing = _target(targets, volume)
        for lba, sources in merge(mine):
            views = [view for position, blocks in sources for view in journal.data_views(position, blocks)]
            backing.pwritev(views, lba * BLOCK_BYTES)
            written += sum(map(len, views))
    return written


def merge(records: Records) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """The newest data for every block that the records write, in address order.

    `records` are data records of one volume in sequence order. Yields runs:
    (first block on the volume, [(data position, blocks), ...]). The work is
    done in the largest unit that divides every address and length.
    """
    lba = records["volume_lba"].astype(np.int64)
    blocks = records["block_count"].astype(np.int64)
    position = records["data_position"].astype(np.int64)
    unit = int(np.gcd.reduce(np.concatenate((lba, blocks))))
    keys, positions = _expand(lba // unit, blocks // unit, position, unit)
    order = np.argsort(keys, kind="stable")
    keys, positions = keys[order], positions[order]
    newest = np.append(keys[1:] != keys[:-1], True)
    keys, positions = keys[newest], positions[newest]
    new_run = np.append(True, keys[1:] != keys[:-1] + 1)
    new_piece = new_run | np.append(True, positions[1:] != positions[:-1] + unit)
    return _runs(keys, positions, new_run, new_piece, unit)


def _expand(key: Blocks, count: Blocks, position: Blocks, unit: int) -> tuple[Blocks, Blocks]:
    """One entry for each unit that the records write, in sequence order."""
    if (count == 1).all():
        return key, position
    inner = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(key, count) + inner, np.repeat(position, count) + inner * unit


def _runs(
    keys: Blocks, positions: Blocks, new_run: npt.NDArray[np.bool_], new_piece: npt.NDArray[np.bool_], unit: int
) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    starts = np.flatnonzero(new_piece)
    lengths = np.diff(np.append(starts, len(keys))) * unit
    pieces = zip(
        (keys[starts] * unit).tolist(),
        positions[starts].tolist(),
        lengths.tolist(),
        new_run[starts].tolist(),
        strict=True,
    )
    run_lba, sources, run_bytes = 0, list[tuple[int, int]](), 0
    for lba, position, blocks, begins in pieces:
        if sources and (begins or run_bytes >= RUN_BYTES_MAX):
            yield run_lba, sources
            sources, run_bytes = [], 0
        if not sources:
            run_lba = lba
        sources.append((position, blocks))
        run_bytes += blocks * BLOCK_BYTES
    if sources:
        yield run_lba, sources
