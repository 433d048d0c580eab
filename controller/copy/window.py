"""How much one copy request asks for: as much as the link carries in about a second, and a limit allows.

Owns the size and how it follows the link; knows nothing of journals or NBD. A
window is kept whole or not at all, so on a slow or spoiled link small ones get
through where large ones never would; on a fast link large ones cost less.
How deep requests are queued follows: a window is asked for in pieces, up to 16
MiB of them in flight (controller/copy/in_flight.py), so a long fast link stays full.
"""

from __future__ import annotations

from typing import Final

from controller.copy.bucket import Bucket
from controller.journal.layout import BLOCK_BYTES

BLOCKS_MAX: Final = (32 << 20) // BLOCK_BYTES
BLOCKS_MIN: Final = (64 << 10) // BLOCK_BYTES
BLOCKS_FIRST: Final = (2 << 20) // BLOCK_BYTES
RECORDS_MAX: Final = 16384
RECORDS_MIN: Final = 128
RECORD_BLOCKS: Final = 4  # of data to a record: with fewer, the records are the greater part
SECONDS_MAX: Final = 1.0  # longer: the next is smaller
SECONDS_MIN: Final = 0.3  # shorter: the next is larger
SPOILED_SHARE: Final = 4  # after one that arrived wrong, so much smaller: fewer bytes are spoiled, and read in vain


class Window:
    """Sizes for one link; for one thread."""

    def __init__(self, bucket: Bucket | None = None) -> None:
        self._link_blocks = BLOCKS_FIRST
        self._bucket = bucket or Bucket()

    @property
    def blocks(self) -> int:
        """How much data may be asked for at once: what the link carries, and the limit allows."""
        return self._bucket.step_bytes(self._link_blocks * BLOCK_BYTES) // BLOCK_BYTES

    @property
    def records(self) -> int:
        """How many records may be asked for at once."""
        return min(RECORDS_MAX, max(RECORDS_MIN, self.blocks // RECORD_BLOCKS))

    def arrived(self, seconds: float, *, right: bool) -> None:
        """A whole window came, in that time; `right`: and was what the checksums say."""
        if not right:
            self._link_blocks = max(BLOCKS_MIN, self._link_blocks // SPOILED_SHARE)
        elif seconds > SECONDS_MAX:
            self._link_blocks = max(BLOCKS_MIN, self._link_blocks // 2)
        elif seconds < SECONDS_MIN:
            self._link_blocks = min(BLOCKS_MAX, self._link_blocks * 2)

    def broke(self) -> None:
        """The link broke before it was whole."""
        self._link_blocks = max(BLOCKS_MIN, self._link_blocks // 2)
