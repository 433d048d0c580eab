"""FORMAT.md once more, record by record and slowly: what the quick checks of the product are held against.

Shares no code with the product but the checksum itself.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from crc32c import crc32c

RECORD = struct.Struct("<QQQQIIHBBIIIII")
UPDATE, BASE, MARKER = 1, 2, 3
ZERO, TRIM = 1, 2
MARKER_BYTES_MAX, DATA_BYTES_MAX = 65536, 33554432


@dataclass(frozen=True, slots=True)
class Group:
    """What the reader knows before it reads: where it stands, whose records they must be, what they may touch."""

    sequence: int
    data_position: int
    tag: int
    generations: range
    volume_blocks: Mapping[int, int]


def first_wrong(records: bytes, group: Group) -> int | None:
    """Index of the first record that must be refused for what it says; None when all are right."""
    position = group.data_position
    for index in range(len(records) // RECORD.size):
        raw = records[index * RECORD.size : (index + 1) * RECORD.size]
        if not right(raw, group, group.sequence + 1 + index, position):
            return index
        position += RECORD.unpack(raw)[5]
    return None


def right(raw: bytes, group: Group, sequence: int, position: int) -> bool:
    """Whether one record may follow a journal that ends at `sequence - 1` and `position`."""
    found, _, lba, at, blocks, data_blocks, volume, kind, flags, generation, _, tag, _, crc = RECORD.unpack(raw)
    if crc != crc32c(raw[:60]) or found != sequence or at != position:
        return False
    if tag != group.tag or generation not in group.generations:
        return False
    if kind == MARKER:
        return bool(blocks == 0 and flags == 0 and data_blocks * 512 <= MARKER_BYTES_MAX)
    if kind not in (UPDATE, BASE) or flags > (ZERO | TRIM):
        return False
    if volume not in group.volume_blocks or lba + blocks > group.volume_blocks[volume]:
        return False
    return bool(data_blocks == (0 if flags else blocks) and data_blocks * 512 <= DATA_BYTES_MAX)


def first_wrong_data(records: bytes, data: bytes, begin: int) -> int | None:
    """Index of the first record whose data fails its checksum; `data` holds data positions from `begin` on."""
    for index in range(len(records) // RECORD.size):
        fields = RECORD.unpack_from(records, index * RECORD.size)
        start = (fields[3] - begin) * 512
        end = start + fields[5] * 512
        if end > len(data) or crc32c(data[start:end]) != fields[10]:
            return index
    return None


def first_wrong_marker(records: bytes, data: bytes, begin: int) -> int | None:
    """Index of the first marker, among records whose data is right, that does not say what it is."""
    for index in range(len(records) // RECORD.size):
        fields = RECORD.unpack_from(records, index * RECORD.size)
        start = (fields[3] - begin) * 512
        if fields[7] == MARKER and not _says_what(data[start : start + fields[5] * 512]):
            return index
    return None


def _says_what(payload: bytes) -> bool:
    try:
        pairs = json.loads(payload.rstrip(b"\0"), object_pairs_hook=list)  # so an object is a list of pairs, or empty
    except (ValueError, RecursionError):
        return False
    if payload[:1] != b"{" or any(isinstance(value, list) for _, value in pairs):
        return False
    return isinstance(dict(pairs).get("what"), str)


def whole_records(records: bytes, data: bytes, group: Group) -> int:
    """How many records from the first on carry their checksums, follow each other, and are this group's."""
    position = group.data_position
    for index in range(len(records) // RECORD.size):
        raw = records[index * RECORD.size : (index + 1) * RECORD.size]
        fields = RECORD.unpack(raw)
        if fields[13] != crc32c(raw[:60]) or fields[0] != group.sequence + 1 + index or fields[3] != position:
            return index
        if fields[11] != group.tag or fields[9] > group.generations[-1]:
            return index
        if first_wrong_data(raw, data, group.data_position) is not None:
            return index
        position += fields[5]
    return len(records) // RECORD.size
