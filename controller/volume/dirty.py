"""The dirty map: which regions of which volumes were written while the group is suspended.

Owns one file, made when journaling is given up and removed when it is taken
up again, so that the file's being there IS the state "suspended". A region's
bit is durable before the data it stands for is written. Knows nothing of why
the group is suspended or of how it will be brought back.

File: a header of 4096 bytes, then one run of bits for each volume, lowest bit
first. All numbers are little endian.

| offset | size | field | meaning |
|---|---|---|---|
| 0 | 8 | magic | `PVOLDIRT` |
| 8 | 4 | version | 1 |
| 12 | 4 | region_bytes | what one bit stands for |
| 16 | 16 | group_uuid | |
| 32 | 24 | position | sequence, data_position, time_ns: all that is journaled; the volumes hold it |
| 56 | 4 | volume_count | |
| 60 | 4 | reserved | 0 |
| 64 | 24 x volume_count | volumes | index u64, size_bytes u64, file offset of its bits u64 |
| 4092 | 4 | header_crc | CRC-32C of bytes 0 to 4092 |
"""

from __future__ import annotations

import os
import struct
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import crc32c

from controller import durable
from controller.errors import IntegrityError, NotFoundError, StorageError
from controller.journal.pointers import Position

REGION_BYTES: Final = 1 << 20
HEADER_BYTES: Final = 4096
MAGIC: Final = b"PVOLDIRT"
VERSION: Final = 1
_HEADER: Final = struct.Struct("<8sII16sQQQII")
_VOLUME: Final = struct.Struct("<QQQ")
_CRC: Final = struct.Struct("<I")


@dataclass(slots=True)
class _VolumeBits:
    size_bytes: int
    file_offset: int
    durable: bytearray  # one byte for each region: 1 when its bit is durable


class DirtyMap:
    """An open dirty map. Any thread may mark and read."""

    def __init__(self, path: str, file: int, position: Position, bits: dict[int, _VolumeBits]) -> None:
        self.path = path
        self.position = position  # everything up to here is in the journal and in the volumes
        self._file = file
        self._bits = bits
        self._lock = threading.Lock()
        self._failure: StorageError | None = None

    @classmethod
    def create(cls, path: str, group_uuid: str, position: Position, sizes_bytes: Mapping[int, int]) -> DirtyMap:
        """A map of clean volumes (index: size). From its return on, durably, the group is suspended."""
        fields = (MAGIC, VERSION, REGION_BYTES, uuid.UUID(group_uuid).bytes)
        header = _HEADER.pack(*fields, position.sequence, position.data_position, position.time_ns, len(sizes_bytes), 0)
        offset = HEADER_BYTES
        for index, size_bytes in sizes_bytes.items():
            header += _VOLUME.pack(index, size_bytes, offset)
            offset += -(-_regions(size_bytes) // 8)
        header = header.ljust(HEADER_BYTES - 4, b"\0")
        content = header + _CRC.pack(crc32c.crc32c(header))
        durable.write_bytes(path, content.ljust(offset, b"\0"))
        return cls.open(path, group_uuid)

    @classmethod
    def open(cls, path: str, group_uuid: str) -> DirtyMap:
        """The map at `path`; NotFoundError when the group is not suspended, IntegrityError when it is damaged."""
        try:
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFoundError(f"no dirty map at {path}", path=path) from None
        try:
            position, bits = cls._read(file, path, group_uuid)
        except BaseException:
            os.close(file)
            raise
        return cls(path, file, position, bits)

    @staticmethod
    def _read(file: int, path: str, group_uuid: str) -> tuple[Position, dict[int, _VolumeBits]]:
        header = os.pread(file, HEADER_BYTES, 0)
        if len(header) < HEADER_BYTES or _CRC.unpack_from(header, HEADER_BYTES - 4)[0] != crc32c.crc32c(header[:-4]):
            raise IntegrityError(
                f"header of dirty map {path} fails its checksum",
                hint="Which regions changed is not known; the pair needs a whole new copy.",
                path=path,
            )
        magic, version, region, group, sequence, data_position, time_ns, count, _ = _HEADER.unpack_from(header)
        if (magic, version, region) != (MAGIC, VERSION, REGION_BYTES) or group != uuid.UUID(group_uuid).bytes:
            raise IntegrityError(f"{path} is not the dirty map of group {group_uuid}", path=path)
        bits: dict[int, _VolumeBits] = {}
        for at in range(count):
            index, size_bytes, offset = _VOLUME.unpack_from(header, _HEADER.size + at * _VOLUME.size)
            raw = os.pread(file, -(-_regions(size_bytes) // 8), offset)
            flags = bytearray((raw[region // 8] >> region % 8) & 1 for region in range(_regions(size_bytes)))
            bits[index] = _VolumeBits(size_bytes, offset, flags)
        return Position(sequence, data_position, time_ns), bits

    def mark(self, index: int, offset: int, count: int) -> None:
        """Make the bits of a byte range durable; at once when they are. StorageError when the disk refuses."""
        bits = self._bits[index]
        first, last = offset // REGION_BYTES, -(-(offset + count) // REGION_BYTES)
        if bits.durable.find(0, first, last) < 0:
            return
        with self._lock:
            if bits.durable.find(0, first, last) < 0:
                return
            start, end = first // 8, -(-last // 8)
            packed = bytearray(end - start)
            for region in range(start * 8, min(end * 8, len(bits.durable))):
                if first <= region < last or bits.durable[region]:
                    packed[region // 8 - start] |= 1 << region % 8
            self._store(packed, bits.file_offset + start)
            bits.durable[first:last] = b"\1" * (last - first)

    def _store(self, packed: bytearray, offset: int) -> None:
        if self._failure is not None:  # a sync that failed once: a later success would prove nothing
            raise self._failure
        try:
            os.pwrite(self._file, packed, offset)
            os.fdatasync(self._file)
        except OSError as error:
            self._failure = StorageError(f"cannot write dirty map {self.path}: {error.strerror}", path=self.path)
            raise self._failure from error

    def dirty_bytes(self) -> int:
        """How much a resync has to look at, all volumes together."""
        return sum(count for index in self._bits for _, count in self.regions(index))

    def regions(self, index: int) -> Iterator[tuple[int, int]]:
        """The changed areas of a volume in order: (byte offset, bytes), neighbours merged."""
        bits = self._bits[index]
        end = 0
        while (start := bits.durable.find(1, end)) >= 0:
            end = bits.durable.find(0, start)
            end = len(bits.durable) if end < 0 else end
            yield start * REGION_BYTES, min(end * REGION_BYTES, bits.size_bytes) - start * REGION_BYTES

    def close(self) -> None:
        """Close the file; the group stays suspended."""
        os.close(self._file)

    def remove(self) -> None:
        """Durably forget that the group was suspended, and what changed."""
        self.close()
        durable.remove(self.path)


def exists(path: str) -> bool:
    """True when a group is suspended: its dirty map is there."""
    return Path(path).exists()


def _regions(size_bytes: int) -> int:
    return -(-size_bytes // REGION_BYTES)
