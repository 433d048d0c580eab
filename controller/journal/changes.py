"""Which regions of which volumes a run of journals writes.

Reads records only. A record that cannot be believed makes every region of
every volume changed: too much is copied then, never too little.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from controller.journal.layout import BLOCK_BYTES, Kind, Records, group_tag, records_valid
from controller.journal.volume import JournalVolume
from controller.volume import regions


def changed_regions(
    journal: JournalVolume, first: int, last: int, sizes_bytes: Mapping[int, int]
) -> tuple[dict[int, bytes], bool]:
    """Packed sets by volume for journals `first` to `last`; and whether every record was right."""
    flags = {index: bytearray(regions.count_of(size)) for index, size in sizes_bytes.items()}
    if last >= first:
        if last - first + 1 > journal.slot_count:
            return everything(sizes_bytes), False
        records = journal.records(first, last)
        if not _right(journal, records, first):
            return everything(sizes_bytes), False
        _mark(flags, records)
    return {index: regions.pack(each) for index, each in flags.items()}, True


def everything(sizes_bytes: Mapping[int, int]) -> dict[int, bytes]:
    """Packed sets with every region of every volume."""
    return {index: regions.pack(bytearray(b"\1" * regions.count_of(size))) for index, size in sizes_bytes.items()}


def _right(journal: JournalVolume, records: Records, first: int) -> bool:
    sequences = np.arange(first, first + len(records), dtype=np.uint64)
    right = records_valid(records) & (records["sequence"] == sequences)
    return bool((right & (records["group_tag"] == group_tag(journal.header.group_uuid))).all())


def _mark(flags: dict[int, bytearray], records: Records) -> None:
    writes = records[(records["kind"] != Kind.MARKER) & (records["block_count"] > 0)]
    blocks = regions.REGION_BYTES // BLOCK_BYTES
    for index, volume in flags.items():
        mine = writes[writes["volume"] == index]
        begin = mine["volume_lba"] // blocks
        end = (mine["volume_lba"] + mine["block_count"] - np.uint64(1)) // blocks + np.uint64(1)
        spans = np.unique(np.stack((begin, end), axis=1), axis=0) if len(mine) else np.empty((0, 2), dtype=np.uint64)
        for start, stop in spans.tolist():
            stop = min(stop, len(volume))
            volume[start:stop] = b"\1" * max(0, stop - start)
