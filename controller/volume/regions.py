"""Sets of regions of a volume: one flag for each, packed bits, areas, unions.

Pure. A set is a bytearray with one byte (0 or 1) for each region of
`REGION_BYTES`; packed it is eight regions to a byte, lowest bit first, as in
the dirty map and on the wire. A shorter packed set has no more regions set.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from controller.errors import UsageError

if TYPE_CHECKING:  # a volume server starts sooner without all the shapes of the control link
    from controller.api.models import ChangedRegions

REGION_BYTES: Final = 1 << 20

# Python's numbers do it in milliseconds for a TiB, and an agent starts without numpy.
_TO_DIGITS: Final = bytes.maketrans(b"\0\1", b"01")
_TO_FLAGS: Final = bytes.maketrans(b"01", b"\0\1")


def count_of(size_bytes: int) -> int:
    """How many regions a volume has; the last may be short."""
    return -(-size_bytes // REGION_BYTES)


def packed_bytes(size_bytes: int) -> int:
    return -(-count_of(size_bytes) // 8)


def pack(flags: bytearray) -> bytes:
    digits = flags[::-1].translate(_TO_DIGITS)  # highest region first, as numbers are written
    return int(digits or b"0", 2).to_bytes(-(-len(flags) // 8), "little")


def unpack(packed: bytes, size_bytes: int) -> bytearray:
    """The flags of all regions of a volume of that size."""
    count = count_of(size_bytes)
    bits = int.from_bytes(packed[: -(-count // 8)], "little") & ((1 << count) - 1)
    return bytearray(f"{bits:0{count}b}".encode()).translate(_TO_FLAGS)[::-1]


def merged(first: bytearray, second: bytearray) -> bytearray:
    """What is in either of two sets of one volume."""
    either = int.from_bytes(first, "little") | int.from_bytes(second, "little")
    return bytearray(either.to_bytes(len(first), "little"))


def mark(flags: bytearray, offset: int, count: int) -> None:
    """Take in every region that a byte range touches."""
    first, last = offset // REGION_BYTES, -(-(offset + count) // REGION_BYTES)
    flags[first:last] = b"\1" * (last - first)


def areas(flags: bytearray, size_bytes: int) -> Iterator[tuple[int, int]]:
    """The areas of a set in order: (byte offset, bytes), neighbours merged, within the volume."""
    end = 0
    while (start := flags.find(1, end)) >= 0:
        end = flags.find(0, start)
        end = len(flags) if end < 0 else end
        yield start * REGION_BYTES, min(end * REGION_BYTES, size_bytes) - start * REGION_BYTES


def union(sets: Iterable[Mapping[int, bytes]], sizes_bytes: Mapping[int, int]) -> dict[int, bytes]:
    """Packed sets by volume, all of them together; volumes that `sizes_bytes` lacks are refused."""
    found = {index: bytearray(count_of(size)) for index, size in sizes_bytes.items()}
    for each in sets:
        for index, packed in each.items():
            if index not in found:
                raise UsageError(f"changed regions speak of volume {index}, which the group does not have")
            found[index] = merged(found[index], unpack(packed, sizes_bytes[index]))
    return {index: pack(flags) for index, flags in found.items()}


def to_wire(packed: Mapping[int, bytes]) -> dict[str, str]:
    """Packed sets as JSON carries them."""
    return {str(index): base64.b64encode(bits).decode() for index, bits in packed.items()}


def from_wire(changed: ChangedRegions) -> dict[int, bytes]:
    """Packed sets of an order; UsageError when they are of another size or not base64."""
    if changed.region_bytes != REGION_BYTES:
        raise UsageError(
            f"changed regions of {changed.region_bytes} bytes, here they have {REGION_BYTES}",
            hint="The two programs are probably of different versions.",
        )
    try:
        return {int(index): base64.b64decode(bits, validate=True) for index, bits in changed.volumes.items()}
    except ValueError as error:
        raise UsageError(f"changed regions cannot be understood: {error}") from error
