"""Where journals lie between the wire and this side's journal volume: in memory of this side's own.

Owns that memory; knows nothing of records. What the other site sends is
looked at here, so nothing of it is in the journal volume before it is right,
and then it is written in one piece. Received straight into the mapped journal
it would cost more than the copy that it saves: after each sync the first
store into a page is a fault, and the file system writes the whole folio
around that page again, 8 to 32 times as many bytes as arrived.
"""

from __future__ import annotations

import mmap
from typing import Final

KEPT_BYTES: Final = 1 << 20  # between windows; of a longer one the rest is given back


class Arrival:
    """Memory for one window at a time, for one thread. `size_bytes`: of the longest window, and so of a record's data.

    Pages that nothing arrived in take no memory.
    """

    def __init__(self, size_bytes: int) -> None:
        # Private: shared pages are not given back to the system.
        self._map = mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._touched_bytes = 0

    def view(self, length: int) -> memoryview:
        """Writable memory of that length; it holds what it is filled with until the next call or `rest`."""
        assert length <= len(self._map), length
        self._touched_bytes = max(self._touched_bytes, length)
        return memoryview(self._map)[:length]

    def rest(self) -> None:
        """Nothing is expected for the moment: memory that only a long window needs goes back to the system."""
        if self._touched_bytes > KEPT_BYTES:
            self._map.madvise(mmap.MADV_DONTNEED, KEPT_BYTES)
            self._touched_bytes = KEPT_BYTES
