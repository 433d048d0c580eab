"""What an initial copy has to look at: whole volumes, or the changed regions of an order.

Pure. Progress is one number of bytes through all areas, in order of volume
index and address, as if they lay one behind the other.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import NamedTuple

from controller.api.models import InitialCopyMethod, InitialCopyOrder
from controller.volume import regions


class Area(NamedTuple):
    volume: int
    offset: int
    length: int


class CopyAreas:
    """The areas of one copy. Volumes by index with their bytes."""

    def __init__(self, order: InitialCopyOrder | None, sizes_bytes: Mapping[int, int]) -> None:
        self._areas = list(_areas(order, sizes_bytes))
        self._starts = list(accumulate((area.length for area in self._areas), initial=0))

    @property
    def bytes_total(self) -> int:
        return self._starts[-1]

    def after(self, bytes_done: int) -> Iterator[Area]:
        """The areas, or what is left of the first, from there on."""
        first = bisect_right(self._starts, bytes_done) - 1
        for at in range(first, len(self._areas)):
            area, done = self._areas[at], max(0, bytes_done - self._starts[at])
            if done < area.length:
                yield Area(area.volume, area.offset + done, area.length - done)


def remaining(order: InitialCopyOrder, bytes_done: int, sizes_bytes: Mapping[int, int]) -> dict[int, bytes]:
    """The packed sets of the regions that a copy has not done."""
    flags = {index: bytearray(regions.count_of(size)) for index, size in sizes_bytes.items()}
    for area in CopyAreas(order, sizes_bytes).after(bytes_done):
        regions.mark(flags[area.volume], area.offset, area.length)
    return {index: regions.pack(each) for index, each in flags.items()}


def _areas(order: InitialCopyOrder | None, sizes_bytes: Mapping[int, int]) -> Iterator[Area]:
    if order is None or order.method is not InitialCopyMethod.DIFFERENTIAL or order.regions is None:
        yield from (Area(volume, 0, size) for volume, size in sorted(sizes_bytes.items()))
        return
    packed = regions.from_wire(order.regions)
    for volume, size in sorted(sizes_bytes.items()):
        flags = regions.unpack(packed.get(volume, b""), size)
        yield from (Area(volume, offset, length) for offset, length in regions.areas(flags, size))
