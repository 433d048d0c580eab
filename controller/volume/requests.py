"""What a host request must be, and the error that names what is wrong with one. Offsets and counts in bytes."""

from __future__ import annotations

from typing import Final

from controller.errors import CapacityError, ConflictError, UsageError
from controller.journal.sizes import BLOCK_BYTES, DATA_BYTES_MAX
from controller.volume.host_path import ServedVolume

REQUEST_BYTES_MAX: Final = DATA_BYTES_MAX


def refuse_read(volume: ServedVolume, offset: int, count: int) -> None:
    """Say what is wrong with a read that is not right."""
    if offset + count > volume.size_bytes:
        raise UsageError(f"read beyond the end of {volume.name}: {count} bytes at {offset}")
    check_blocks(offset, count, REQUEST_BYTES_MAX)


def check_change(volume: ServedVolume, offset: int, count: int, count_max: int) -> None:
    """Raise unless a host may change this range."""
    if not volume.writable:
        raise ConflictError(f"volume {volume.name} is not writable here", hint="Write at the primary site.")
    if offset + count > volume.size_bytes:
        raise CapacityError(f"write beyond the end of {volume.name}: {count} bytes at {offset}")
    check_blocks(offset, count, count_max)


def check_blocks(offset: int, count: int, count_max: int) -> None:
    """Raise unless a range is of whole blocks, and not too many."""
    if (offset | count) % BLOCK_BYTES or count == 0:
        raise UsageError(f"request of {count} bytes at {offset} is not of whole {BLOCK_BYTES}-byte blocks")
    if count > count_max:
        raise UsageError(f"request of {count} bytes is longer than {count_max}")
