"""What travels on a compressed data link (WIRE.md), as bytes. Pure: no sockets, and it knows nothing of NBD.

Trusts nobody: a reader holds one packed and one unpacked block at most.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

import zstandard

from controller.checksum import crc32c
from controller.errors import IntegrityError

MAGIC: Final = b"PVZSTD1\n"
GREETING: Final = struct.Struct("<8sB7x")
BLOCK: Final = struct.Struct("<III")
RAW_BYTES_MAX: Final = 256 << 10
LEVEL: Final = 3  # measured: higher levels pack a tenth more and cost three times as much


class Target(IntEnum):
    """Which server of the primary a connection is for."""

    JOURNAL = 1
    VOLUMES = 2


class Answer(IntEnum):
    """What the relay says to a hello."""

    GO_ON = 0
    UNREACHABLE = 1
    BUSY = 2
    NO_TARGET = 3


def greeting(value: Target | Answer) -> bytes:
    """A hello, or the answer to one."""
    return GREETING.pack(MAGIC, value)


def greeted(data: bytes) -> int:
    """The number in a hello or an answer; IntegrityError when it is neither."""
    magic, value = GREETING.unpack(data)
    if magic != MAGIC or data != GREETING.pack(magic, value):
        raise IntegrityError("what answers is no compressing relay of this version", hint="Look at its address.")
    return int(value)


class Plain:
    """Bytes as they are."""

    read_bytes: Final = RAW_BYTES_MAX

    def __init__(self) -> None:
        self._data = b""

    def put(self, data: bytes) -> None:
        """Only when `take` had nothing more."""
        self._data = data

    def take(self) -> bytes:
        """What to send on; empty when there is nothing more."""
        data, self._data = self._data, b""
        return data


class Packing(Plain):
    """What is put comes out as one block."""

    def __init__(self) -> None:
        super().__init__()
        self._zstd = zstandard.ZstdCompressor(level=LEVEL, write_content_size=True)

    def take(self) -> bytes:
        raw = super().take()
        if not raw:
            return b""
        packed = self._zstd.compress(raw)
        body = packed if len(packed) < len(raw) else raw
        return BLOCK.pack(len(raw), len(body), crc32c(raw)) + body


class Unpacking(Plain):
    """Blocks in pieces of any length; comes out one block at a time. IntegrityError for anything else."""

    def __init__(self) -> None:
        super().__init__()
        self._held = bytearray()
        self._zstd = zstandard.ZstdDecompressor(max_window_size=RAW_BYTES_MAX)

    def put(self, data: bytes) -> None:
        self._held += data

    def take(self) -> bytes:
        if len(self._held) < BLOCK.size:
            return b""
        raw_bytes, packed_bytes, checksum = BLOCK.unpack_from(self._held)
        if not 0 < packed_bytes <= raw_bytes <= RAW_BYTES_MAX:
            raise _damage(f"a block of {packed_bytes} bytes for {raw_bytes}")
        end = BLOCK.size + packed_bytes
        if len(self._held) < end:
            return b""
        with memoryview(self._held) as view:
            body = bytes(view[BLOCK.size : end])
        del self._held[:end]
        raw = body if packed_bytes == raw_bytes else self._unpacked(body, raw_bytes)
        if len(raw) != raw_bytes or crc32c(raw) != checksum:
            raise _damage("its checksum is wrong")
        return raw

    def _unpacked(self, body: bytes, raw_bytes: int) -> bytes:
        try:
            stated = zstandard.get_frame_parameters(body).content_size
            if stated != raw_bytes:  # before it is unpacked: that much memory would be taken
                raise _damage(f"a frame of {stated} bytes in a block of {raw_bytes}")
            return self._zstd.decompress(body, max_output_size=raw_bytes, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise _damage(str(error)) from error


def _damage(words: str) -> IntegrityError:
    return IntegrityError(f"damaged block on the compressed link: {words}", hint="Nothing of it was used.")
