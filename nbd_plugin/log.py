"""The server's log stays small while requests are refused: nbdkit writes a line into it for each of them.

Owns nothing of what is written. Keeps the older half, where the trouble
began, and says so; knows no nbdkit.
"""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import suppress
from typing import Final

LOG_BYTES_MAX: Final = 8 << 20
LOOK_LINES: Final = 256
CUT: Final = b"pairvol: newer lines of this log were dropped, there were too many\n"


class Log:
    """The file behind a descriptor that appends; what is no file is left alone. The threads that call hold the GIL."""

    def __init__(self, descriptor: int = 2, bytes_max: int = LOG_BYTES_MAX, look_lines: int = LOOK_LINES) -> None:
        self._descriptor, self._bytes_max, self._look_lines = descriptor, bytes_max, look_lines
        self._lines = 0

    def grows(self) -> None:
        """A line is about to be written."""
        self._lines += 1
        if self._lines % self._look_lines:
            return
        with suppress(OSError):  # the request is refused for its own cause, and that is what its client hears
            facts = os.fstat(self._descriptor)
            appends = fcntl.fcntl(self._descriptor, fcntl.F_GETFL) & os.O_APPEND
            if appends and stat.S_ISREG(facts.st_mode) and facts.st_size > self._bytes_max:
                os.ftruncate(self._descriptor, self._bytes_max // 2)
                os.write(self._descriptor, b"\n" + CUT)
