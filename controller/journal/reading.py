"""One read of an open file into memory of the caller's, as quick as there is; the plain one is the reference.

Knows nothing of what is read.
"""

from __future__ import annotations

import os

from typing_extensions import Buffer


def read_plainly(file: int, buffer: Buffer, offset: int) -> int:
    """Fill a writable buffer from a byte offset; how many bytes came: fewer at the file's end, or at a signal."""
    return os.preadv(file, (buffer,), offset)


try:
    from controller.journal._hot import read_at as read_at
except ImportError:  # not built: the plain one does the same
    read_at = read_plainly
