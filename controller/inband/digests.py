"""Digests of what a range holds: BLAKE2b-128 of each unit.

Both sites compute them with these functions. A cryptographic digest, because
two different contents must not look the same by chance even over petabytes (a
32-bit checksum would miss one difference in four thousand million); BLAKE2b,
because it is in Python's standard library and among the quickest there.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

UNIT_BYTES: Final = 64 << 10  # how narrowly a difference is named
DIGEST_BYTES: Final = 16


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
