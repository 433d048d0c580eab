"""A set of whole pages kept as few sorted, disjoint, half-open ranges.

Owns the arithmetic of large zeroed and trimmed areas, so that a trim of
4 GiB is one entry and not a million. Knows nothing of journals or volumes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator


class PageRanges:
    """Ranges of pages; adding merges what overlaps or touches."""

    __slots__ = ("_ends", "_starts")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts, self._ends, strict=True)

    def __contains__(self, page: int) -> bool:
        at = bisect_right(self._starts, page) - 1
        return at >= 0 and page < self._ends[at]

    def add(self, start: int, end: int) -> None:
        """Take in pages `start` to `end` (exclusive)."""
        first = bisect_left(self._ends, start)
        behind = bisect_right(self._starts, end)
        if first < behind:
            start = min(start, self._starts[first])
            end = max(end, self._ends[behind - 1])
        self._starts[first:behind] = [start]
        self._ends[first:behind] = [end]

    def meets(self, start: int, end: int) -> bool:
        """True when a page of `start` to `end` (exclusive) is in the set."""
        at = bisect_right(self._ends, start)
        return at < len(self._starts) and self._starts[at] < end
