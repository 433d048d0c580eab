"""How large the parts of a journal are, as FORMAT.md says; for who speaks of journals and reads none."""

from __future__ import annotations

from typing import Final

BLOCK_BYTES: Final = 512
RECORD_BYTES: Final = 64
SIZE_BYTES_MIN: Final = 1 << 20  # of a journal volume
DATA_BYTES_MAX: Final = 32 << 20  # of one update or base record, and of one request of a host
MARKER_BYTES_MAX: Final = 64 << 10
