"""Starting reads of libnbd by its C interface, straight into memory of ours.

The Python binding (seen in 1.14.2) loses a reference to the buffer at every
`aio_pread`: some 190 bytes for each read for ever, and a mapped journal that
can never be unmapped. So this one call bypasses it; everything else, this
read's completion included, goes through the binding as usual.
"""

from __future__ import annotations

import ctypes
from typing import Any, Final


class _Completion(ctypes.Structure):
    """nbd_completion_callback; all zero: none."""

    _fields_ = (("callback", ctypes.c_void_p), ("user_data", ctypes.c_void_p), ("free", ctypes.c_void_p))


_libnbd: Final = ctypes.CDLL("libnbd.so.0")
_libnbd.nbd_aio_pread.restype = ctypes.c_int64
_libnbd.nbd_aio_pread.argtypes = (
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_uint64,
    _Completion,
    ctypes.c_uint32,
)
_libnbd.nbd_get_error.restype = ctypes.c_char_p
_pointer_of: Final = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype = ctypes.c_void_p
_pointer_of.argtypes = (ctypes.py_object, ctypes.c_char_p)
_NONE: Final = _Completion()


class Reads:
    """The reads in flight on one handle. Holds on to each buffer until its read is over or the handle closed."""

    def __init__(self, handle: Any) -> None:
        self._pointer = _pointer_of(handle._o, b"nbd_handle")
        self._buffers: dict[int, ctypes.c_char] = {}

    def __len__(self) -> int:
        return len(self._buffers)

    def start(self, view: memoryview, offset: int) -> None:
        """Begin to fill a writable view from an offset of the export; OSError when libnbd refuses."""
        buffer = ctypes.c_char.from_buffer(view)
        cookie = _libnbd.nbd_aio_pread(self._pointer, ctypes.addressof(buffer), len(view), offset, _NONE, 0)
        if cookie < 0:
            raise OSError(_libnbd.nbd_get_errno(), (_libnbd.nbd_get_error() or b"").decode(errors="replace"))
        self._buffers[cookie] = buffer

    def ended(self, cookie: int) -> None:
        """The read of this cookie is over: its buffer is the caller's alone again."""
        del self._buffers[cookie]

    def forget(self) -> None:
        """The handle is closed: nothing writes any more."""
        self._buffers.clear()
