"""The file of a dirty map: its layout, and how it is written and read.

File: a header of 4096 bytes, then one run of bits for each volume, lowest bit
first. Bits are set in place; the header changes by a new file that takes the
old one's name. All numbers are little endian.

| offset | size | field | meaning |
|---|---|---|---|
| 0 | 8 | magic | `PVOLDIRT` |
| 8 | 4 | version | 2 |
| 12 | 4 | region_bytes | what one bit stands for |
| 16 | 16 | group_uuid | |
| 32 | 24 | position | sequence, data_position, time_ns: up to here a journal tells, beyond it the bits do |
| 56 | 4 | volume_count | |
| 60 | 2 | state | 1 draining, 2 suspended, 3 resync |
| 62 | 2 | cause | 1 full, 2 operator, 3 error, 4 takeover, 5 split, 6 demoted |
| 64 | 16 | epoch | |
| 80 | 8 | covered_sequence | the bits also stand for journals after `position` up to this one |
| 88 | 24 x volume_count | volumes | index u64, size_bytes u64, file offset of its bits u64 |
| 2048 | 2 | note_bytes | length of the note |
| 2050 | 1024 at most | note | the cause in words, UTF-8 |
| 4092 | 4 | header_crc | CRC-32C of bytes 0 to 4092 |
"""

from __future__ import annotations

import os
import struct
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from controller.api.words import SuspendedCause
from controller.checksum import crc32c
from controller.errors import IntegrityError
from controller.journal.pointers import Position
from controller.volume import regions
from controller.volume.regions import REGION_BYTES

HEADER_BYTES: Final = 4096
MAGIC: Final = b"PVOLDIRT"
VERSION: Final = 2
NOTE_OFFSET: Final = 2048
NOTE_BYTES_MAX: Final = 1024
_HEADER: Final = struct.Struct("<8sII16sQQQIHH16sQ")
_VOLUME: Final = struct.Struct("<QQQ")
_CRC: Final = struct.Struct("<I")
_CAUSES: Final = (
    SuspendedCause.FULL,
    SuspendedCause.OPERATOR,
    SuspendedCause.ERROR,
    SuspendedCause.TAKEOVER,
    SuspendedCause.SPLIT,
    SuspendedCause.DEMOTED,
)


class MapState(IntEnum):
    """What host writes do while the map is there."""

    DRAINING = 1
    SUSPENDED = 2
    RESYNC = 3


@dataclass(frozen=True, slots=True)
class MapHead:
    """What the header says beside the layout."""

    position: Position = field(default_factory=Position)
    state: MapState = MapState.SUSPENDED
    cause: SuspendedCause = SuspendedCause.FULL
    epoch: str = ""  # empty in a head to be written: a new one is given
    covered_sequence: int = 0
    note: str = ""


@dataclass(slots=True)
class VolumeBits:
    """The bits of one volume, and where they lie in the file."""

    size_bytes: int
    file_offset: int
    durable: bytearray  # one byte for each region: 1 when its bit is durable


def compose(group_uuid: str, head: MapHead, bits: Mapping[int, VolumeBits]) -> bytes:
    """The whole file."""
    position, note = head.position, head.note.encode()[:NOTE_BYTES_MAX]
    header = _HEADER.pack(
        MAGIC,
        VERSION,
        REGION_BYTES,
        uuid.UUID(group_uuid).bytes,
        position.sequence,
        position.data_position,
        position.time_ns,
        len(bits),
        head.state,
        1 + _CAUSES.index(head.cause),
        uuid.UUID(head.epoch).bytes,
        head.covered_sequence,
    )
    for index, volume in bits.items():
        header += _VOLUME.pack(index, volume.size_bytes, volume.file_offset)
    header = header.ljust(NOTE_OFFSET, b"\0") + len(note).to_bytes(2, "little") + note
    header = header.ljust(HEADER_BYTES - 4, b"\0")
    return header + _CRC.pack(crc32c(header)) + b"".join(regions.pack(each.durable) for each in bits.values())


def read(file: int, path: str, group_uuid: str) -> tuple[MapHead, dict[int, VolumeBits]]:
    """What an open file says. IntegrityError when it is damaged, of another version, or another group's."""
    header = os.pread(file, HEADER_BYTES, 0)
    if len(header) < HEADER_BYTES or _CRC.unpack_from(header, HEADER_BYTES - 4)[0] != crc32c(header[:-4]):
        raise IntegrityError(
            f"header of dirty map {path} fails its checksum",
            hint="Which regions changed is not known; the pair needs a whole new copy.",
            path=path,
        )
    magic, version, region, group, *position, count, state, cause, epoch, covered = _HEADER.unpack_from(header)
    if magic == MAGIC and version != VERSION:
        raise IntegrityError(
            f"dirty map {path} is of format version {version}, this program reads version {VERSION}",
            hint="Nothing was changed; run the version of pairvol that wrote it.",
            path=path,
        )
    if (magic, region) != (MAGIC, REGION_BYTES) or group != uuid.UUID(group_uuid).bytes:
        raise IntegrityError(
            f"{path} is not the dirty map of group {group_uuid}",
            hint="Put the right file back; nothing was changed.",
            path=path,
        )
    bits: dict[int, VolumeBits] = {}
    for at in range(count):
        index, size_bytes, offset = _VOLUME.unpack_from(header, _HEADER.size + at * _VOLUME.size)
        raw = os.pread(file, regions.packed_bytes(size_bytes), offset)
        bits[index] = VolumeBits(size_bytes, offset, regions.unpack(raw, size_bytes))
    length = int.from_bytes(header[NOTE_OFFSET : NOTE_OFFSET + 2], "little")
    note = header[NOTE_OFFSET + 2 : NOTE_OFFSET + 2 + length].decode(errors="replace")
    head = MapHead(Position(*position), MapState(state), _CAUSES[cause - 1], str(uuid.UUID(bytes=epoch)), covered, note)
    return head, bits
