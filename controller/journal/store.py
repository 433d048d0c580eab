"""What opening and laying out a journal volume needs of its file or block device.

Owns lengths, room, the lock and the header on the disk; knows nothing of what
is done with an open journal.
"""

from __future__ import annotations

import fcntl
import os
import stat
from typing import Final

from controller.errors import CapacityError, ConflictError, IntegrityError
from controller.journal.access import volume_size_bytes
from controller.journal.layout import BLOCK_BYTES, HEADER_SLOT_LBAS, SIZE_BYTES_MIN, Header

SET_MAGIC: Final = b"PVOLJSET\n"
SET_BYTES_MAX: Final = 1 << 20


def allocate(file: int, path: str, size_bytes: int) -> int:
    """Make sure that all of a journal volume has its place on the disk; how long it is (0: as it is)."""
    present = volume_size_bytes(file)
    size_bytes = size_bytes or present
    if size_bytes < SIZE_BYTES_MIN:
        raise CapacityError(
            f"a journal volume of {size_bytes} bytes is too small: {path}",
            hint=f"Give it at least {SIZE_BYTES_MIN} bytes.",
            path=path,
        )
    if stat.S_ISBLK(os.fstat(file).st_mode):
        if present < size_bytes:
            raise CapacityError(f"journal volume {path} is shorter than {size_bytes} bytes", path=path)
        return size_bytes
    try:
        os.posix_fallocate(file, 0, size_bytes)
    except OSError as error:
        raise CapacityError(
            f"cannot allocate {size_bytes} bytes for journal volume {path}: {os.strerror(error.errno or 0)}",
            hint="Free room on that file system, or give a smaller journal size.",
            path=path,
        ) from error
    return size_bytes


def lock(file: int, path: str) -> None:
    """One process writes a journal: ConflictError while another one does."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConflictError(
            f"journal volume {path} is in use by another process",
            hint="One server writes a journal; end the other one first.",
            path=path,
        ) from None


def unlock(file: int) -> None:
    """Give the lock up, also when the volume stays mapped: a map has its own descriptor of the same open file."""
    fcntl.flock(file, fcntl.LOCK_UN)


def read_header(file: int, path: str) -> Header:
    """The header that counts."""
    found: list[Header] = []
    failure: IntegrityError | None = None
    for lba in HEADER_SLOT_LBAS:
        block = os.pread(file, BLOCK_BYTES, lba * BLOCK_BYTES).ljust(BLOCK_BYTES, b"\0")
        try:
            found.append(Header.unpack(block, path))
        except IntegrityError as error:
            failure = failure or error
    if not found:
        assert failure is not None
        raise failure
    return max(found, key=lambda header: header.serial)


def set_document(file: int) -> bytes | None:
    """What stands in a document for a journal of several volumes; None for a journal volume itself."""
    if os.pread(file, len(SET_MAGIC), 0) != SET_MAGIC:
        return None
    return os.pread(file, SET_BYTES_MAX, len(SET_MAGIC))
