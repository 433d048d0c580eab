"""Lists of ranges that a verify found: sorted, disjoint, of bounded length. Pure.

A list that grows too long takes in the gaps between neighbours, the smallest
first: it names more than what differs then, and never less.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from controller.api.runs import Found

FOUND_MAX: Final = 128
GAP_BYTES: Final = 64 << 10


def bytes_of(found: Iterable[Found]) -> int:
    return sum(each.length for each in found)


def without(found: Sequence[Found], volume: int, offset: int, length: int) -> list[Found]:
    """What lies outside of a range."""
    end = offset + length
    kept: list[Found] = []
    for each in found:
        each_end = each.offset + each.length
        if each.volume != volume or each_end <= offset or each.offset >= end:
            kept.append(each)
            continue
        if each.offset < offset:
            kept.append(each._replace(length=offset - each.offset))
        if each_end > end:
            kept.append(each._replace(offset=end, length=each_end - end))
    return kept


def within(found: Sequence[Found], volume: int, offset: int, length: int) -> list[Found]:
    """What lies inside of a range."""
    parts = []
    for each in found:
        start, stop = max(each.offset, offset), min(each.offset + each.length, offset + length)
        if each.volume == volume and start < stop:
            parts.append(each._replace(offset=start, length=stop - start))
    return parts


def joined(found: Sequence[Found], more: Sequence[Found]) -> list[Found]:
    """Both together; of ranges that touch, the newest sequence."""
    if not more:
        return list(found)
    result, gap = _merged(sorted([*found, *more]), 0), GAP_BYTES
    while len(result) > FOUND_MAX:
        result, gap = _merged(result, gap), 2 * gap
    return result


def _merged(found: Iterable[Found], gap: int) -> list[Found]:
    result: list[Found] = []
    for each in found:
        last = result[-1] if result else None
        if last is not None and last.volume == each.volume and last.offset + last.length + gap >= each.offset:
            end = max(last.offset + last.length, each.offset + each.length)
            result[-1] = last._replace(length=end - last.offset, sequence=max(last.sequence, each.sequence))
        else:
            result.append(each)
    return result
