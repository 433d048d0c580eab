"""Reading and writing at a place of an open file, block device or map; the plain read is the quick one's reference.

Knows nothing of what is read or written.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import stat
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing_extensions import Buffer

PAGE_BYTES: Final = 4096  # what the kernel keeps in memory of a file, the least at once
_MADV_POPULATE_READ: Final = 22  # Linux 5.14

_libc = ctypes.CDLL(None, use_errno=True)
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def volume_size_bytes(file: int) -> int:
    """Length of an open file or block device."""
    if stat.S_ISBLK(os.fstat(file).st_mode):
        return os.lseek(file, 0, os.SEEK_END)
    return os.fstat(file).st_size


def write_fully(file: int, view: memoryview, offset: int) -> None:
    """pwrite until all is written."""
    while view:
        written = os.pwrite(file, view, offset)
        view, offset = view[written:], offset + written


def write_pages(file: int, view: memoryview, offset: int, free: int) -> None:
    """The same; a page that the write begins and does not fill is filled with zeros, when all of it is free.

    Of a page that is not in memory the kernel reads from the disk what a write
    leaves out of it, and the writer waits. `free`: so many bytes behind the
    write hold nothing that is needed.
    """
    tail = (offset + len(view)) % PAGE_BYTES
    if 0 < tail <= len(view) and PAGE_BYTES - tail <= free:
        whole = len(view) - tail
        write_fully(file, view[:whole], offset)
        view, offset = memoryview(bytes(view[whole:]).ljust(PAGE_BYTES, b"\0")), offset + whole
    write_fully(file, view, offset)


def populate(address: int, offset: int, length: int) -> None:
    """Have a part of a map in memory, read from its file where it is not; OSError when that cannot be read.

    The map begins at `address`. Other threads go on meanwhile, as they would
    not with `mmap.madvise`: a long part may take the disk seconds.
    """
    start = offset // mmap.PAGESIZE * mmap.PAGESIZE
    if length and _libc.madvise(address + start, offset + length - start, _MADV_POPULATE_READ) != 0:
        number = ctypes.get_errno()
        if number != errno.EINVAL:  # which a kernel before 5.14 says, that does not know how
            raise OSError(number, os.strerror(number))


def read_plainly(file: int, buffer: Buffer, offset: int) -> int:
    """Fill a writable buffer from a byte offset; how many bytes came: fewer at the file's end, or at a signal."""
    return os.preadv(file, (buffer,), offset)


try:
    from controller.journal._hot import read_at as read_at
except ImportError:  # not built: the plain one does the same
    read_at = read_plainly
