"""Records and data carried from one journal volume to another, where they keep their sequences and positions.

Owns the copying and its checks. The two volumes differ only in their moduli
(FORMAT.md), so nothing is rewritten; every record is verified where it now
lies. Knows nothing of who writes the old journal and of how the new one takes
its place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from controller.errors import CapacityError, IntegrityError
from controller.journal.layout import BLOCK_BYTES, Records, group_tag, records_valid
from controller.journal.pointers import Position
from controller.journal.recovery import BATCH_RECORDS, good_prefix
from controller.journal.volume import JournalVolume
from controller.units import format_size

CHUNK_BLOCKS: Final = (4 << 20) // BLOCK_BYTES


def carry(
    old: JournalVolume, new: JournalVolume, after: Position, to: Position, out: Callable[[], Position]
) -> Position:
    """Copy the records behind `after` up to `to`; where they end. Not durable before a sync of the new volume.

    `out` tells up to where journals are of no use any more. Their space in the
    old volume may be overwritten meanwhile, so a record that is not right is
    damage only when it is still needed: then IntegrityError names it. Records
    no longer needed are left out. CapacityError when the new volume is too small.
    """
    done = max(after, out())
    _carry_mark(old, new, done.sequence)
    while done.sequence < to.sequence:
        free = out()
        _check_room(new, free, to)
        batch = old.records(done.sequence + 1, min(done.sequence + BATCH_RECORDS, to.sequence))
        good, damage = _carry_batch(old, new, batch, done)
        if good:
            done = _end(batch[good - 1])
        needed = out()
        if needed > done:
            done = needed
        elif good < len(batch):
            raise IntegrityError(
                f"journal volume {old.path} is damaged at sequence {done.sequence + 1}: {damage}",
                hint="Nothing was changed. Keep the volume and look at its disk.",
                sequence=done.sequence + 1,
                path=old.path,
            )
    return done


def _carry_mark(old: JournalVolume, new: JournalVolume, sequence: int) -> None:
    """The record where it begins, without its data: others may still ask what it was."""
    record = old.records(sequence, sequence)
    if sequence and int(record[0]["sequence"]) == sequence and records_valid(record)[0]:
        new.write_records(sequence, record)


def _carry_batch(old: JournalVolume, new: JournalVolume, batch: Records, after: Position) -> tuple[int, str]:
    """Data, then records, then a look at them in their new place: how many are right, and what is wrong with the next.

    Only records that follow each other are carried: garbage has no length to be believed.
    """
    tag = group_tag(old.header.group_uuid)
    good, damage = good_prefix(old, batch, after, after, tag)
    if not good:
        return 0, damage
    begin, end = after.data_position, _end(batch[good - 1]).data_position
    for start in range(begin, end, CHUNK_BLOCKS):
        position = start
        for view in old.data_views(start, min(CHUNK_BLOCKS, end - start)):
            new.write_data(position, view)
            position += len(view) // BLOCK_BYTES
    new.write_records(int(batch[0]["sequence"]), batch[:good])
    carried, wrong = good_prefix(new, batch[:good], after, after, tag)
    return carried, wrong or damage


def _check_room(new: JournalVolume, out: Position, to: Position) -> None:
    records, blocks = to.sequence - out.sequence, to.data_position - out.data_position
    if records > new.slot_count or blocks > new.data_blocks:
        raise CapacityError(
            f"journal volume {new.path} of {format_size(new.header.end_bytes)} cannot hold the {records} journals"
            f" ({format_size(blocks * BLOCK_BYTES)}) that are still needed",
            hint="Let them be copied and restored first, or give a larger size.",
            journals=records,
            data_bytes=blocks * BLOCK_BYTES,
        )


def _end(record: np.void) -> Position:
    end = int(record["data_position"]) + int(record["data_blocks"])
    return Position(int(record["sequence"]), end, int(record["time_ns"]))
