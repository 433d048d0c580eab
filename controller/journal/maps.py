"""Several files under one run of addresses.

The kernel keeps each page the file's own, so whoever has the view sees one
memory; which file a byte of it is in, it does not show.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref
from collections.abc import Sequence
from typing import Final, NamedTuple

_MAP_SHARED: Final = 0x01
_MAP_FIXED: Final = 0x10
_MAP_NOWHERE: Final = 0x4022  # private, anonymous, no swap reserved: only addresses

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_longlong)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)


class Span(NamedTuple):
    """A run of the addresses in bytes, and where in which file it lies."""

    start: int
    member: int
    offset: int
    length: int


def map_over(files: Sequence[int], spans: Sequence[Span], writable: bool) -> tuple[int, memoryview]:
    """Map the spans one behind the other: where that begins, and a view that keeps it mapped."""
    total = spans[-1].start + spans[-1].length
    address = _mapped(None, total, 0, _MAP_NOWHERE, -1, 0)
    protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
    try:
        for span in spans:
            flags = _MAP_SHARED | _MAP_FIXED
            _mapped(address + span.start, span.length, protection, flags, files[span.member], span.offset)
    except OSError:
        _libc.munmap(address, total)
        raise
    held = (ctypes.c_ubyte * total).from_address(address)
    weakref.finalize(held, _libc.munmap, address, total)
    view = memoryview(held).cast("B")
    return address, view if writable else view.toreadonly()


def _mapped(address: int | None, length: int, protection: int, flags: int, file: int, offset: int) -> int:
    found = _libc.mmap(address, length, protection, flags, file, offset)
    if found is None or found == ctypes.c_void_p(-1).value:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(found)
