"""Finding the end of a journal from its records alone.

The records are the truth; pointers only say where to begin and what must be
there. The crash matrix in FORMAT.md lists what each cut leaves and what is
done here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from controller.checksum import crc32c
from controller.errors import IntegrityError
from controller.journal.layout import Records, group_tag, records_valid
from controller.journal.pointers import Position
from controller.journal.volume import JournalVolume

BATCH_RECORDS: Final = 4096

Damage = str


def scan(
    journal: JournalVolume,
    after: Position,
    on_records: Callable[[Records], None] | None = None,
) -> tuple[Position, Damage]:
    """Follow the records that come after a position as long as each is right.

    Reads only. Returns the tail (the position of the last good record, or
    `after` itself) and, in words, why the next slot does not follow it.
    `on_records` is handed each run of good records in order.
    """
    tail = after
    tag = group_tag(journal.header.group_uuid)
    while True:
        room = journal.slot_count - (tail.sequence - after.sequence)
        if room <= 0:
            return tail, "the metadata area is full"
        batch = journal.records(tail.sequence + 1, tail.sequence + min(BATCH_RECORDS, room))
        good, damage = good_prefix(journal, batch, tail, after, tag)
        if good:
            last = batch[good - 1]
            if on_records is not None:
                on_records(batch[:good])
            end = int(last["data_position"]) + int(last["data_blocks"])
            tail = Position(int(last["sequence"]), end, int(last["time_ns"]))
        if good < len(batch):
            return tail, damage


def good_prefix(
    journal: JournalVolume, batch: Records, tail: Position, after: Position, tag: int
) -> tuple[int, Damage]:
    """How many records from the first on are right, and what is wrong with the next."""
    sequences = np.arange(tail.sequence + 1, tail.sequence + 1 + len(batch), dtype=np.uint64)
    ends = batch["data_position"] + batch["data_blocks"]
    starts = np.concatenate((np.asarray([tail.data_position], dtype=np.uint64), ends[:-1]))
    checks = (
        ("carries another sequence", batch["sequence"] == sequences),
        ("fails its checksum", records_valid(batch)),
        ("belongs to another group", batch["group_tag"] == tag),
        ("carries a generation that is not the group's", batch["generation"] <= journal.header.generation),
        ("does not begin where the data before it ends", batch["data_position"] == starts),
        ("has more data than the journal holds", ends - np.uint64(after.data_position) <= journal.data_blocks),
    )
    good, damage = len(batch), ""
    for words, passed in checks:
        failed = np.flatnonzero(~passed)
        if len(failed) and failed[0] < good:
            good, damage = int(failed[0]), f"record {tail.sequence + 1 + int(failed[0])} {words}"
    return _good_data(journal, batch[:good], damage)


def _good_data(journal: JournalVolume, batch: Records, damage: Damage) -> tuple[int, Damage]:
    if len(batch):
        begin, last = int(batch[0]["data_position"]), batch[-1]
        journal.fetch(begin, int(last["data_position"]) + int(last["data_blocks"]) - begin)
    fields = zip(
        batch["data_position"].tolist(), batch["data_blocks"].tolist(), batch["data_crc"].tolist(), strict=True
    )
    for index, (position, blocks, expected) in enumerate(fields):
        if data_crc(journal, position, blocks) != expected:
            return index, f"the data of record {int(batch[index]['sequence'])} fails its checksum"
    return len(batch), damage


def data_crc(journal: JournalVolume, position: int, blocks: int) -> int:
    """CRC-32C of data as it lies in the journal; 0 for none."""
    crc = 0
    for view in journal.data_views(position, blocks):
        crc = crc32c(view, crc)
    return crc


def recover(journal: JournalVolume, after: Position, durable: Position) -> Position:
    """Find the tail after a crash and wipe what lies beyond it.

    `after` is the position that is safe in the volume, `durable` the newest
    that was once known durable. A bad record up to `durable` is damage, not a
    crash: IntegrityError names it and nothing is changed. Otherwise records
    beyond the tail, left by a write that a power cut took the middle of, are
    wiped. That, and every record up to the tail, is durable when this returns.
    """
    tail, damage = scan(journal, after)
    if tail.sequence < durable.sequence:
        raise IntegrityError(
            f"journal volume {journal.path} is damaged at sequence {tail.sequence + 1}: {damage}",
            hint=f"Records up to {durable.sequence} were durable. Keep the volume and look at the disk.",
            sequence=tail.sequence + 1,
            durable=durable.sequence,
            path=journal.path,
        )
    first = max(after, durable).sequence + 1
    if wipe_beyond(journal, tail.sequence) or first <= tail.sequence:
        _store_again(journal, first, tail.sequence)
        journal.sync()
    return tail


def wipe_beyond(journal: JournalVolume, sequence: int) -> bool:
    """Make every record after a sequence wrong; whether there was one. Not durable before the next sync."""
    stale = np.flatnonzero(journal.all_records()["sequence"] > sequence)
    if len(stale):
        journal.wipe_records(stale)
    return len(stale) > 0


def _store_again(journal: JournalVolume, first: int, last: int) -> None:
    """Write records and data that were never known durable once more.

    Their sync may have failed. The page cache then shows what the disk does
    not have, as clean pages, so that another sync alone would prove nothing.
    """
    for start in range(first, last + 1, BATCH_RECORDS):
        batch = journal.records(start, min(start + BATCH_RECORDS - 1, last))
        fields = zip(batch["data_position"].tolist(), batch["data_blocks"].tolist(), strict=True)
        for position, blocks in fields:
            if blocks:
                journal.write_data(position, b"".join(journal.data_views(position, blocks)))
        journal.write_records(start, batch)
