"""The pointer page: where each reader and writer of a journal stands.

One mapped file of 4 KiB, shared by the processes of an appliance and read
over NBD by the other site. Every pointer has one writer (FORMAT.md says
which); readers never lock. After a crash the values are hints: recovery
checks them against the records.
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from controller import durable
from controller.checksum import crc32c
from controller.errors import IntegrityError, MissingFileError, StorageError

PAGE_BYTES: Final = 4096
LINE_BYTES: Final = 64
_BODY: Final = struct.Struct("<QQQQ28x")
_CRC: Final = struct.Struct("<I")


class Pointer(StrEnum):
    """The pointers of FIG. 5, and what beyond them crash recovery needs."""

    JOURNAL_IN = "journal_in"
    DURABLE = "durable"
    CHECKPOINT = "checkpoint"
    JOURNAL_OUT = "journal_out"
    CONFIRMED = "confirmed"
    READ_SCHEDULED = "read_scheduled"
    ALREADY_READ = "already_read"
    RESTORE_SCHEDULED = "restore_scheduled"
    ALREADY_RESTORED = "already_restored"


INDEX: Final[dict[Pointer, int]] = {
    Pointer.JOURNAL_IN: 0,
    Pointer.DURABLE: 1,
    Pointer.CHECKPOINT: 2,
    Pointer.JOURNAL_OUT: 3,
    Pointer.CONFIRMED: 4,
    Pointer.READ_SCHEDULED: 8,
    Pointer.ALREADY_READ: 9,
    Pointer.RESTORE_SCHEDULED: 10,
    Pointer.ALREADY_RESTORED: 11,
}


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in the journal: everything up to and with `sequence` is behind it."""

    sequence: int = 0
    data_position: int = 0  # blocks, exclusive end of that journal's data
    time_ns: int = 0  # in that journal's record; 0 when there is none


def _parse_line(line: bytes) -> tuple[int, Position] | None:
    serial, sequence, data_position, time_ns = _BODY.unpack_from(line)
    if serial == 0 or _CRC.unpack_from(line, 60)[0] != crc32c(line[:60]):
        return None
    return serial, Position(sequence, data_position, time_ns)


def _newest(page: bytes, pointer: Pointer) -> tuple[int, Position]:
    """Serial and value that count; serial 0 for a pointer never written."""
    start = INDEX[pointer] * 2 * LINE_BYTES
    raw = page[start : start + 2 * LINE_BYTES]
    lines = (_parse_line(raw[:LINE_BYTES]), _parse_line(raw[LINE_BYTES:]))
    valid = [line for line in lines if line is not None]
    if valid:
        return max(valid, key=lambda line: line[0])
    if any(raw):
        raise IntegrityError(
            f"both copies of pointer {pointer} are damaged",
            hint="Put a copy of the pointer page back; nothing was changed.",
            pointer=str(pointer),
        )
    return 0, Position()


def parse_page(page: bytes) -> dict[Pointer, Position]:
    """All pointers of a page read from elsewhere (4096 bytes)."""
    return {pointer: _newest(page, pointer)[1] for pointer in Pointer}


class PointerPage:
    """An open pointer page.

    Any thread may read. Each pointer is published by one thread at a time of
    its one owning process. Published values are seen by other processes at
    once and survive kill -9; they survive a power cut from `persist` on.
    """

    def __init__(self, file: int, path: str) -> None:
        self.path = path
        self._file = file
        self._map = mmap.mmap(file, PAGE_BYTES)
        self._serials: dict[Pointer, int] = {}
        self._asked = False  # whether the disk was asked for this page since it was opened

    @classmethod
    def create(cls, path: str) -> PointerPage:
        """A new page with every pointer at zero, durable before it returns; StorageError: there is none."""
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(file, 0, PAGE_BYTES)
                os.fsync(file)
            except OSError:
                os.close(file)
                os.unlink(path)
                raise
        except OSError as error:
            raise durable.refused(path, error) from error
        return cls(file, path)

    @classmethod
    def open(cls, path: str) -> PointerPage:
        """An existing page; IntegrityError when it has another size."""
        try:
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            raise MissingFileError(f"pointer page {path} is missing", hint="Put it back.", path=path) from None
        except OSError as error:
            raise StorageError(
                f"cannot open pointer page {path}: {(error.strerror or str(error)).lower()}",
                hint=durable.hint_for(error),
                path=path,
            ) from error
        if os.fstat(file).st_size != PAGE_BYTES:
            os.close(file)
            raise IntegrityError(
                f"pointer page {path} is not {PAGE_BYTES} bytes long", hint="Put the right file back.", path=path
            )
        try:
            os.pread(file, PAGE_BYTES, 0)  # a page that cannot be read is an error here, and a SIGBUS in the map
        except OSError:
            os.close(file)
            raise
        return cls(file, path)

    def read(self, pointer: Pointer) -> Position:
        """The newest published value."""
        return _newest(self._map[:], pointer)[1]

    def read_all(self) -> dict[Pointer, Position]:
        """All pointers at about one moment."""
        return parse_page(self._map[:])

    def publish(self, pointer: Pointer, position: Position) -> None:
        """Set a pointer; what it speaks of must already be in place."""
        serial = self._serials.get(pointer)
        if serial is None:
            serial = _newest(self._map[:], pointer)[0]
        serial += 1
        body = _BODY.pack(serial, position.sequence, position.data_position, position.time_ns)
        start = (INDEX[pointer] * 2 + serial % 2) * LINE_BYTES
        self._map[start : start + LINE_BYTES] = body + _CRC.pack(crc32c(body))
        self._serials[pointer] = serial

    def persist(self) -> None:
        """Make all published values survive a power cut. StorageError when the disk refuses; it may be tried again.

        Whose sync failed before, here or in a process before us, left a clean
        page that the disk may not have: the page is made one to be written.
        That is why the first error after opening says nothing yet: the kernel
        keeps that of a page it wrote back by itself, on a disk that was bad
        then, for the next who opens the file.
        """
        try:
            try:
                self._write()
            except OSError:
                if self._asked:
                    raise
                self._write()
            finally:
                self._asked = True
        except OSError as error:
            raise StorageError(
                f"cannot write pointer page {self.path}: {(error.strerror or str(error)).lower()}",
                hint="Look at that disk; what is journaled is kept.",
                path=self.path,
            ) from error

    def _write(self) -> None:
        self._map[-1:] = self._map[-1:]  # no pointer's: two processes publish in this page
        os.fdatasync(self._file)

    def close(self) -> None:
        """Unmap; published values stay in the file."""
        self._map.close()
        os.close(self._file)
