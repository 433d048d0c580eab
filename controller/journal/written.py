"""A newly allocated file, written once before anybody waits for it.

Of blocks that are allocated and were never written, file systems note at the
first write that they hold something now: a sync then waits for a commit of the
file system besides its data, all through the first time round of a journal.
"""

from __future__ import annotations

import errno
import mmap
import os
import time
from typing import Final

PIECE_BYTES: Final = 1 << 20
SECONDS_MAX: Final = 5.0  # whoever makes a journal waits for this; what is left costs its syncs that once

# What a file system says that cannot write past the page cache, or no such piece.
_CANNOT: Final = frozenset({errno.EINVAL, errno.EOPNOTSUPP})


def write_whole(file: int, size_bytes: int, seconds_max: float = SECONDS_MAX) -> int:
    """Write zeros to all of an open file that holds nothing yet; how many bytes came to be written in that time.

    Past the page cache: nobody reads them, and a file kept there in large
    pieces costs small writes more. Not durable before a sync of the file.
    OSError when the disk refuses.
    """
    deadline = time.monotonic() + seconds_max
    try:
        direct = os.open(f"/proc/self/fd/{file}", os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _CANNOT:
            return 0
        raise
    done = 0
    try:
        with mmap.mmap(-1, PIECE_BYTES) as zeros, memoryview(zeros) as view:  # at the start of a page, as must be
            while done + PIECE_BYTES <= size_bytes and time.monotonic() < deadline:
                done += os.pwrite(direct, view, done)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
    finally:
        os.close(direct)
    return done
