"""What journals come to: for every block that they write, the newest data, in address order.

Pure arithmetic on records; the data itself is not looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from controller.journal.layout import Records

Blocks = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pieces:
    """Data to write, in address order: three arrays of one length, all in blocks."""

    lba: Blocks  # first block on the volume
    position: Blocks  # of the data in the journal
    blocks: Blocks

    def part(self, first: int, end: int) -> Pieces:
        """Those from number `first` to before number `end`."""
        return Pieces(self.lba[first:end], self.position[first:end], self.blocks[first:end])


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
