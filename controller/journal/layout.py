"""Fields of the journal on disk, exactly as FORMAT.md describes them.

Owns packing, unpacking and checking of single headers and records. It does no
I/O and knows nothing of files, rings or pointers.
"""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from controller.checksum import crc32c
from controller.errors import IntegrityError
from controller.journal.kinds import Flag as Flag
from controller.journal.kinds import Kind as Kind
from controller.journal.sizes import BLOCK_BYTES as BLOCK_BYTES
from controller.journal.sizes import DATA_BYTES_MAX as DATA_BYTES_MAX
from controller.journal.sizes import MARKER_BYTES_MAX as MARKER_BYTES_MAX
from controller.journal.sizes import RECORD_BYTES as RECORD_BYTES
from controller.journal.sizes import SIZE_BYTES_MIN as SIZE_BYTES_MIN

RECORDS_PER_BLOCK: Final = BLOCK_BYTES // RECORD_BYTES
HEADER_AREA_BLOCKS: Final = 128
HEADER_SLOT_LBAS: Final = (0, 8)
MAGIC: Final = b"PVOLJRNL"
VERSION: Final = 1
ALIGN_BLOCKS: Final = 8  # areas are whole pages, so that they can be mapped
METADATA_SHARE: Final = 32  # one part in 32 of the volume: room for writes of 2 KiB on average

Records = npt.NDArray[np.void]

RECORD_DTYPE: Final = np.dtype(
    [
        ("sequence", "<u8"),
        ("time_ns", "<u8"),
        ("volume_lba", "<u8"),
        ("data_position", "<u8"),
        ("block_count", "<u4"),
        ("data_blocks", "<u4"),
        ("volume", "<u2"),
        ("kind", "u1"),
        ("flags", "u1"),
        ("generation", "<u4"),
        ("data_crc", "<u4"),
        ("group_tag", "<u4"),
        ("reserved", "<u4"),
        ("record_crc", "<u4"),
    ]
)
_RECORD_BODY: Final = struct.Struct("<QQQQIIHBBIIII")
_U32: Final = struct.Struct("<I")

HEADER_FIELDS: Final = (
    ("magic", "8s"),
    ("version", "I"),
    ("generation", "I"),
    ("serial", "Q"),
    ("journal_uuid", "16s"),
    ("group_uuid", "16s"),
    ("block_bytes", "I"),
    ("record_bytes", "I"),
    ("metadata_head_lba", "Q"),
    ("metadata_block_count", "Q"),
    ("data_head_lba", "Q"),
    ("data_block_count", "Q"),
    ("created_ns", "Q"),
)
_HEADER: Final = struct.Struct("<" + "".join(code for _, code in HEADER_FIELDS))


@lru_cache
def group_tag(group_uuid: str) -> int:
    """The four bytes that tie a record to its group."""
    return crc32c(uuid.UUID(group_uuid).bytes)


def pack_record(
    *,
    sequence: int,
    time_ns: int,
    volume_lba: int,
    data_position: int,
    block_count: int,
    data_blocks: int,
    volume: int,
    kind: int,
    flags: int,
    generation: int,
    data_crc: int,
    tag: int,
) -> bytes:
    """One record of 64 bytes, checksum included. Lengths and addresses in blocks."""
    body = _RECORD_BODY.pack(
        sequence,
        time_ns,
        volume_lba,
        data_position,
        block_count,
        data_blocks,
        volume,
        kind,
        flags,
        generation,
        data_crc,
        tag,
        0,
    )
    return body + _U32.pack(crc32c(body))


def _crc_table() -> npt.NDArray[np.uint32]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(0x82F63B78), table >> 1)
    return table


_TABLE: Final = _crc_table()
_VECTOR_FROM: Final = 256  # below, one hardware checksum a record is quicker


def records_valid(records: Records) -> npt.NDArray[np.bool_]:
    """Which of the records carry the checksum of their own bytes.

    `records` is a contiguous array of RECORD_DTYPE; the answer has its length.
    Many records are checked column by column, all at once.
    """
    count = len(records)
    stored = records["record_crc"]
    if count < _VECTOR_FROM:
        raw = memoryview(records.tobytes())
        found = [crc32c(raw[start : start + 60]) for start in range(0, count * RECORD_BYTES, RECORD_BYTES)]
        return np.asarray(np.asarray(found, dtype=np.uint32) == stored, dtype=np.bool_)
    columns = np.ascontiguousarray(np.ascontiguousarray(records).view(np.uint8).reshape(count, RECORD_BYTES)[:, :60].T)
    crc = np.full(count, 0xFFFFFFFF, dtype=np.uint32)
    for column in columns:
        crc = _TABLE[(crc ^ column) & 0xFF] ^ (crc >> 8)
    return np.asarray((crc ^ np.uint32(0xFFFFFFFF)) == stored, dtype=np.bool_)


@dataclass(frozen=True, slots=True)
class Header:
    """The composition of a journal volume and the generation it is in."""

    journal_uuid: str
    group_uuid: str
    generation: int
    metadata_head_lba: int
    metadata_block_count: int
    data_head_lba: int
    data_block_count: int
    created_ns: int
    serial: int = 1

    @property
    def slot_count(self) -> int:
        """How many records the metadata area holds."""
        return self.metadata_block_count * RECORDS_PER_BLOCK

    @property
    def end_bytes(self) -> int:
        """How long the journal volume must be at least."""
        return (self.data_head_lba + self.data_block_count) * BLOCK_BYTES

    def successor(self, generation: int) -> Header:
        """The header that replaces this one under another generation."""
        return replace(self, generation=generation, serial=self.serial + 1)

    def pack(self) -> bytes:
        """One block of 512 bytes, checksum included."""
        values: dict[str, Any] = {name: getattr(self, name, None) for name, _ in HEADER_FIELDS}
        values |= {
            "magic": MAGIC,
            "version": VERSION,
            "journal_uuid": uuid.UUID(self.journal_uuid).bytes,
            "group_uuid": uuid.UUID(self.group_uuid).bytes,
            "block_bytes": BLOCK_BYTES,
            "record_bytes": RECORD_BYTES,
        }
        body = _HEADER.pack(*(values[name] for name, _ in HEADER_FIELDS)).ljust(BLOCK_BYTES - 4, b"\0")
        return body + _U32.pack(crc32c(body))

    @classmethod
    def unpack(cls, block: bytes, path: str) -> Header:
        """The header in `block` (512 bytes); IntegrityError names what is wrong with it."""
        values = dict(zip((name for name, _ in HEADER_FIELDS), _HEADER.unpack_from(block), strict=True))
        if values.pop("magic") != MAGIC:
            raise IntegrityError(f"{path} is not a journal volume: no magic", hint="Check the path.", path=path)
        if _U32.unpack_from(block, BLOCK_BYTES - 4)[0] != crc32c(block[: BLOCK_BYTES - 4]):
            raise IntegrityError(
                f"journal header of {path} fails its checksum", hint="Look at its disk; nothing was changed.", path=path
            )
        version = values.pop("version")
        if version != VERSION or (values.pop("block_bytes"), values.pop("record_bytes")) != (BLOCK_BYTES, RECORD_BYTES):
            raise IntegrityError(
                f"journal volume {path} has format version {version}, this program reads {VERSION}",
                hint="Use the release of pairvol that wrote it.",
                path=path,
            )
        values["journal_uuid"] = str(uuid.UUID(bytes=values["journal_uuid"]))
        values["group_uuid"] = str(uuid.UUID(bytes=values["group_uuid"]))
        return cls(**values)


def compose(size_bytes: int, group_uuid: str, generation: int, created_ns: int) -> Header:
    """Divide a volume of `size_bytes` into its areas (a new journal_uuid each time)."""
    total = size_bytes // BLOCK_BYTES
    metadata = max(ALIGN_BLOCKS, total // METADATA_SHARE // ALIGN_BLOCKS * ALIGN_BLOCKS)
    data_head = HEADER_AREA_BLOCKS + metadata
    return Header(
        journal_uuid=str(uuid.uuid4()),
        group_uuid=str(uuid.UUID(group_uuid)),
        generation=generation,
        metadata_head_lba=HEADER_AREA_BLOCKS,
        metadata_block_count=metadata,
        data_head_lba=data_head,
        data_block_count=(total - data_head) // ALIGN_BLOCKS * ALIGN_BLOCKS,
        created_ns=created_ns,
    )
