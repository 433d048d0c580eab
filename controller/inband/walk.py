"""The ranges of a run as one line of bytes, and where in them a number of bytes done is. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

from controller.api.runs import Range
from controller.errors import UsageError
from controller.journal.layout import BLOCK_BYTES


class Walk:
    """Goes through ranges in their order."""

    def __init__(self, ranges: Sequence[Range]) -> None:
        self._ranges = ranges
        self._starts = list(accumulate((each.length for each in ranges), initial=0))

    @property
    def bytes_total(self) -> int:
        return self._starts[-1]

    def at(self, bytes_done: int) -> Range | None:
        """What is left of the range there; None at the end."""
        index = bisect_right(self._starts, bytes_done) - 1
        if index >= len(self._ranges):
            return None
        found, done = self._ranges[index], bytes_done - self._starts[index]
        return Range(found.volume, found.offset + done, found.length - done)


def whole(sizes_bytes: Mapping[int, int]) -> list[Range]:
    """All of all volumes."""
    return [Range(index, 0, size) for index, size in sorted(sizes_bytes.items())]


def checked(ranges: Iterable[Range], sizes_bytes: Mapping[int, int]) -> list[Range]:
    """Sorted, those that overlap or touch merged; UsageError for what is not within the volumes."""
    found: list[Range] = []
    for each in sorted(Range(*each) for each in ranges):
        size = sizes_bytes.get(each.volume)
        if size is None:
            raise UsageError(f"a range speaks of volume {each.volume}, which the group does not have")
        if each.offset < 0 or each.length <= 0 or each.offset + each.length > size:
            raise UsageError(f"range {each.offset}+{each.length} is not within volume {each.volume} of {size} bytes")
        if (each.offset | each.length) % BLOCK_BYTES:
            raise UsageError(f"range {each.offset}+{each.length} is not of whole {BLOCK_BYTES}-byte blocks")
        last = found[-1] if found else None
        if last is not None and last.volume == each.volume and last.offset + last.length >= each.offset:
            end = max(last.offset + last.length, each.offset + each.length)
            found[-1] = Range(last.volume, last.offset, end - last.offset)
        else:
            found.append(each)
    return found
