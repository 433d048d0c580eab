"""Digests of what a range holds: BLAKE2b-128 of each unit.

Both sites compute them with these functions. A cryptographic digest, because
two different contents must not look the same by chance even over petabytes (a
32-bit checksum would miss one difference in four thousand million); BLAKE2b,
because it is in Python's standard library and among the quickest there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from controller.journal.layout import BLOCK_BYTES

UNIT_BYTES: Final = 64 << 10  # how narrowly a difference is named
DIGEST_BYTES: Final = 16
LENGTH_BYTES_MAX: Final = 32 << 20  # of the range of one digest: it is read at once to compare it


@dataclass(frozen=True, slots=True)
class Digest:
    """What a digest marker says; without digests the range reads as zeros."""

    volume: int
    offset: int
    length: int
    unit: int
    digests: str
    bytes_done: int

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Digest:
        """KeyError or ValueError when it makes no sense."""
        numbers = {key: number_in(content, key) for key in ("volume", "offset", "length", "unit", "bytes_done")}
        found = cls(digests=str(content["digests"]), **numbers)
        units = -(-found.length // found.unit) if found.unit >= BLOCK_BYTES else 0
        if units <= 0 or len(found.digests) not in (0, 2 * DIGEST_BYTES * units):
            raise ValueError("a digest of no range")
        if found.length > LENGTH_BYTES_MAX:
            raise ValueError(f"a digest of {found.length} bytes, more than {LENGTH_BYTES_MAX}")
        return found


def number_in(content: Mapping[str, Any], key: str) -> int:
    """A number of bytes, or an index, that a marker says; KeyError or ValueError when it says none."""
    value = content[key]
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError(f"{key} is no number of it")
    return value


def digests_of(content: memoryview, unit: int = UNIT_BYTES) -> str:
    """The digests of the units of a content in hex, one behind the other; the last unit may be short."""
    parts = (content[start : start + unit] for start in range(0, len(content), unit))
    return "".join(blake2b(part, digest_size=DIGEST_BYTES).hexdigest() for part in parts)


def differing(content: memoryview, expected: str, unit: int) -> list[tuple[int, int]]:
    """(offset, length) of the parts whose digests are not the expected ones, neighbours merged."""
    width = 2 * DIGEST_BYTES
    found: list[tuple[int, int]] = []
    present = digests_of(content, unit)
    for number in range(-(-len(content) // unit)):
        if present[number * width : (number + 1) * width] != expected[number * width : (number + 1) * width]:
            start, end = number * unit, min((number + 1) * unit, len(content))
            if found and sum(found[-1]) == start:
                found[-1] = (found[-1][0], end - found[-1][0])
            else:
                found.append((start, end - start))
    return found
