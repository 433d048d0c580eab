"""The store under a data volume: a regular file or a block device.

Owns the system calls and nothing else: no journal, no overlay, no locks.
Offsets and counts are bytes. Zeroed and punched ranges read as zeros.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from controller import durable
from controller.errors import CapacityError, MissingFileError, StorageError
from controller.journal.access import read_at, volume_size_bytes, write_fully

if TYPE_CHECKING:
    from typing_extensions import Buffer

FALLOC_KEEP_SIZE: Final = 0x01
FALLOC_PUNCH_HOLE: Final = 0x02
FALLOC_ZERO_RANGE: Final = 0x10
SYNC_FILE_RANGE_WRITE: Final = 2
_UNSUPPORTED: Final = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY, errno.EINVAL})
_ZEROS: Final = bytes(1 << 20)
_IOV_MAX: Final = 1024

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_longlong, ctypes.c_longlong)
_libc.sync_file_range.argtypes = (ctypes.c_int, ctypes.c_longlong, ctypes.c_longlong, ctypes.c_uint)


def _fallocate(file: int, mode: int, offset: int, count: int) -> None:
    while _libc.fallocate(file, mode, offset, count) != 0:
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))


class Backing:
    """An open backing store. Any thread may call; the caller orders overlapping writes.

    Nothing survives a power cut before `sync`. OSError passes through as it
    is: a write that met EIO or ENOSPC says so.
    """

    def __init__(self, file: int, path: str, size_bytes: int) -> None:
        self.file = file
        self.path = path
        self.size_bytes = size_bytes
        self.regular = stat.S_ISREG(os.fstat(file).st_mode)
        self._discards = True
        self._zero_ranges = True

    @classmethod
    def open(cls, path: str, size_bytes: int, readonly: bool = False) -> Backing:
        """Open a store that must be at least `size_bytes` long."""
        try:
            file = os.open(path, (os.O_RDONLY if readonly else os.O_RDWR) | os.O_CLOEXEC)
        except FileNotFoundError:
            raise MissingFileError(f"backing store {path} is missing", hint="Put it back.", path=path) from None
        except OSError as error:
            raise StorageError(
                f"cannot open backing store {path}: {(error.strerror or str(error)).lower()}",
                hint=durable.hint_for(error),
                path=path,
            ) from error
        present = volume_size_bytes(file)
        if present < size_bytes:
            os.close(file)
            raise CapacityError(
                f"backing store {path} is {present} bytes long, the volume needs {size_bytes}",
                hint="Put the right store back, or make it as long as it was.",
                path=path,
            )
        return cls(file, path, size_bytes)

    def pread_into(self, buffer: memoryview | bytearray, offset: int) -> None:
        """Fill a writable buffer."""
        if read_at(self.file, buffer, offset) == len(buffer):
            return  # always, but at a store's end or a signal
        view = memoryview(buffer).cast("B")
        while view:
            count = os.preadv(self.file, [view], offset)
            if count == 0:
                raise OSError(errno.EIO, f"{self.path} ends before byte {offset}")
            view, offset = view[count:], offset + count

    def pwrite(self, buffer: Buffer, offset: int) -> None:
        """Write a whole buffer."""
        write_fully(self.file, memoryview(buffer).cast("B"), offset)

    def pwritev(self, buffers: Sequence[memoryview], offset: int) -> None:
        """Write buffers one behind the other."""
        for start in range(0, len(buffers), _IOV_MAX):
            part = buffers[start : start + _IOV_MAX]
            length = sum(map(len, part))
            written = os.pwritev(self.file, part, offset)
            if written != length:  # rare: finish it in one piece
                self.pwrite(b"".join(part)[written:], offset + written)
            offset += length

    def zero(self, offset: int, count: int) -> None:
        """Make a range read as zeros and keep it allocated where the store can."""
        if self._zero_ranges and self._try(FALLOC_ZERO_RANGE | FALLOC_KEEP_SIZE, offset, count):
            return
        self._zero_ranges = False
        for start in range(offset, offset + count, len(_ZEROS)):
            self.pwrite(memoryview(_ZEROS)[: min(len(_ZEROS), offset + count - start)], start)

    def punch(self, offset: int, count: int) -> None:
        """Make a range read as zeros and give its space back where the store can."""
        if self._discards and self._try(FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, offset, count):
            return
        self._discards = False
        self.zero(offset, count)

    def _try(self, mode: int, offset: int, count: int) -> bool:
        try:
            _fallocate(self.file, mode, offset, count)
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                return False
            raise
        return True

    def extents(self, offset: int, count: int) -> list[tuple[int, int, bool]]:
        """What is allocated in a range: (offset, length, is data), in order, covering it whole."""
        end = offset + count
        if not self.regular:
            return [(offset, count, True)]
        found: list[tuple[int, int, bool]] = []
        while offset < end:
            try:
                data = min(os.lseek(self.file, offset, os.SEEK_DATA), end)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                data = end
            if data > offset:
                found.append((offset, data - offset, False))
            if data >= end:
                break
            hole = min(os.lseek(self.file, data, os.SEEK_HOLE), end)
            found.append((data, hole - data, True))
            offset = hole
        return found

    def begin_sync(self, offset: int, count: int) -> None:
        """Have what is written there begin to reach the disk.

        An advice: nothing is durable by it, and an error is left for `sync`
        to meet (this flag of sync_file_range takes none from it).
        """
        _libc.sync_file_range(self.file, offset, count, SYNC_FILE_RANGE_WRITE)

    def sync(self) -> None:
        """Make everything written so far survive a power cut."""
        os.fdatasync(self.file)

    def close(self) -> None:
        """Close the store; unsynced writes stay with the kernel."""
        os.close(self.file)
