"""How much of a journal fits into one window: whole records, with all of their data.

Pure, and of runs of records that follow one another; nothing here is done for
each record by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from controller.journal.layout import BLOCK_BYTES, Records
from controller.journal.pointers import Position


@dataclass(frozen=True, slots=True)
class Room:
    """What one window may hold at most."""

    records: int
    blocks: int


def end_of(record: np.void) -> Position:
    """Where the journal ends with this record."""
    return Position(
        int(record["sequence"]), int(record["data_position"]) + int(record["data_blocks"]), int(record["time_ns"])
    )


def data_bytes(records: Records) -> int:
    """How long the data of records that follow one another is."""
    return (end_of(records[-1]).data_position - int(records[0]["data_position"])) * BLOCK_BYTES


def cut(records: Records, start: int, room: int, window: int) -> tuple[Records, int]:
    """The first records whose data is within a window, one at least if there is room; else the blocks it needs."""
    if not len(records):
        return records, 0
    ends = records["data_position"] + records["data_blocks"] - np.uint64(start)
    fitting = int(np.searchsorted(ends, min(room, window), side="right"))
    if fitting == 0 and int(ends[0]) <= room:
        fitting = 1
    return records[:fitting], 0 if fitting else int(ends[0])
