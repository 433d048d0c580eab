"""Where the newest data of a block lies while the backing store does not have it yet.

Owns the map from blocks to journal data positions, in segments: new writes go
into the active one, a frozen one is destaged as a whole and dropped as a
whole, so nothing is ever deleted entry by entry. Knows nothing of volumes
(callers give each volume its own range of block numbers), does no I/O, and
takes no lock: the caller's one lock guards every call but `misses`.
"""

from __future__ import annotations

from itertools import repeat
from typing import Final

from controller.journal.pointers import Position
from controller.volume.ranges import PageRanges

PAGE_BLOCKS: Final = 8
ZEROES: Final = -1  # in place of a data position: reads as zeros
BELOW: Final = -2  # in place of a data position: not in this segment, or not in the overlay at all
RANGE_PAGES_MIN: Final = 256  # a zeroed area of this length is kept as a range

Blocks = tuple[int, ...]  # of one page: a data position, ZEROES or BELOW for each block
Entry = int | Blocks  # a whole page: the data position of its first block, or ZEROES
Piece = tuple[int, int, int]  # (block offset in the request, blocks, data position | ZEROES | BELOW)


class Segment:
    """The writes of one run of sequence numbers."""

    __slots__ = ("data_blocks", "end", "first", "pages", "ranges", "records")

    def __init__(self, first: int) -> None:
        self.first = first  # sequence of its first record
        self.end = Position()  # of its last record, set when it is frozen
        self.records = 0
        self.data_blocks = 0
        self.pages: dict[int, Entry] = {}
        self.ranges = PageRanges()  # an entry in `pages` is newer than a range over it

    def insert(self, block: int, blocks: int, position: int) -> None:
        """Blocks `block` and on now have their data at `position` and on."""
        if blocks == PAGE_BLOCKS and not block % PAGE_BLOCKS:
            self.pages[block // PAGE_BLOCKS] = position
            return
        for page, low, high in self._edges(block, blocks):
            start = position + page * PAGE_BLOCKS + low - block
            self._patch(page, low, high, range(start, start + high - low))
        first, last = _whole_pages(block, blocks)
        if first < last:
            start = position + first * PAGE_BLOCKS - block
            positions = range(start, start + (last - first) * PAGE_BLOCKS, PAGE_BLOCKS)
            self.pages.update(zip(range(first, last), positions, strict=True))

    def clear(self, block: int, blocks: int) -> None:
        """Blocks `block` and on now read as zeros."""
        for page, low, high in self._edges(block, blocks):
            self._patch(page, low, high, [ZEROES] * (high - low))
        first, last = _whole_pages(block, blocks)
        if last - first < RANGE_PAGES_MIN:
            self.pages.update(zip(range(first, last), repeat(ZEROES)))
            return
        self.ranges.add(first, last)  # before the entries over it go: see `misses`
        if len(self.pages) < last - first:
            self.pages = {page: entry for page, entry in self.pages.items() if not first <= page < last}
        else:
            for page in range(first, last):
                self.pages.pop(page, None)

    def entry(self, page: int) -> Entry | None:
        """What this segment knows of a page."""
        found = self.pages.get(page)
        if found is None and self.ranges and page in self.ranges:
            return ZEROES
        return found

    def meets(self, first: int, last: int) -> bool:
        """False when it knows nothing of pages `first` to `last` (exclusive)."""
        if self.pages and not self.pages.keys().isdisjoint(range(first, last)):
            return True
        return bool(self.ranges) and self.ranges.meets(first, last)

    @staticmethod
    def _edges(block: int, blocks: int) -> list[tuple[int, int, int]]:
        """The pages that are not covered whole: (page, first block in it, end block in it)."""
        end = block + blocks
        first, last = block // PAGE_BLOCKS, (end - 1) // PAGE_BLOCKS
        low, high = block % PAGE_BLOCKS, (end - 1) % PAGE_BLOCKS + 1
        if first == last:
            return [(first, low, high)] if high - low < PAGE_BLOCKS else []
        edges = [(first, low, PAGE_BLOCKS)] if low else []
        if high < PAGE_BLOCKS:
            edges.append((last, 0, high))
        return edges

    def _patch(self, page: int, low: int, high: int, values: range | list[int]) -> None:
        entry = self.entry(page)
        blocks = [BELOW] * PAGE_BLOCKS if entry is None else list(_blocks(entry))
        blocks[low:high] = values
        self.pages[page] = tuple(blocks)


def _whole_pages(block: int, blocks: int) -> tuple[int, int]:
    return -(-block // PAGE_BLOCKS), (block + blocks) // PAGE_BLOCKS


def _blocks(entry: Entry) -> Blocks:
    if isinstance(entry, tuple):
        return entry
    return (ZEROES,) * PAGE_BLOCKS if entry == ZEROES else tuple(range(entry, entry + PAGE_BLOCKS))


class Overlay:
    """The segments, newest first. `active` takes new writes."""

    __slots__ = ("active", "segments")

    def __init__(self, next_sequence: int) -> None:
        self.active = Segment(next_sequence)
        self.segments: list[Segment] = [self.active]

    def misses(self, block: int, blocks: int) -> bool:
        """Whether all of these blocks are below; without the lock right too, of every write acknowledged before.

        False proves nothing: `locate` knows. Without the lock a change may be
        half done, which is no harm: a segment is among the others while it is
        empty, it leaves when all of it was applied, and an entry of it goes
        when a range over it has come.
        """
        first, last = block // PAGE_BLOCKS, -(-(block + blocks) // PAGE_BLOCKS)
        for segment in tuple(self.segments):
            if first + 1 == last:
                if first in segment.pages:
                    return False
            elif not segment.pages.keys().isdisjoint(range(first, last)):  # one step: no other thread comes between
                return False
            if segment.ranges:  # these change in several steps, and are few
                return False
        return True

    @property
    def frozen(self) -> int:
        """How many segments wait to be destaged."""
        return len(self.segments) - 1

    @property
    def oldest(self) -> Segment:
        return self.segments[-1]

    def freeze(self, end: Position) -> None:
        """Close the active segment, whose last record ends at `end`; an empty one stays."""
        if self.active.records:
            self.active.end = end
            self.active = Segment(end.sequence + 1)
            self.segments.insert(0, self.active)

    def drop_oldest(self) -> None:
        """Forget the oldest frozen segment: the backing store has what it knew."""
        assert self.frozen
        self.segments.pop()

    def clear(self, next_sequence: int) -> None:
        """Forget everything: the backing store has it all."""
        self.active = Segment(next_sequence)
        self.segments[:] = [self.active]

    def locate(self, block: int, blocks: int) -> list[Piece] | None:
        """Where to read blocks from, in order and without gaps; None when all of them are below."""
        first, last = block // PAGE_BLOCKS, -(-(block + blocks) // PAGE_BLOCKS)
        if last - first == 1:  # by far the most frequent
            for segment in self.segments:
                entry = segment.entry(first)
                if entry is None:
                    continue
                if isinstance(entry, int):
                    return [(0, blocks, entry if entry < 0 else entry + block % PAGE_BLOCKS)]
                break
            else:
                return None
        segments = [segment for segment in self.segments if segment.meets(first, last)]
        if not segments:
            return None
        pieces: list[Piece] = []
        for page in range(first, last):
            start = max(block, page * PAGE_BLOCKS)
            end = min(block + blocks, (page + 1) * PAGE_BLOCKS)
            entry = _newest(segments, page)
            if isinstance(entry, int):
                position = entry if entry < 0 else entry + start % PAGE_BLOCKS
                _extend(pieces, start - block, end - start, position)
            else:
                for at in range(start, end):
                    _extend(pieces, at - block, 1, entry[at % PAGE_BLOCKS])
        return pieces


def _newest(segments: list[Segment], page: int) -> Entry:
    """The newest entry for a page, put together from several segments where it must be."""
    mixed: list[int] | None = None
    for segment in segments:
        entry = segment.entry(page)
        if entry is None:
            continue
        if mixed is None:
            if isinstance(entry, int) or BELOW not in entry:
                return entry
            mixed = list(entry)
        else:
            mixed = [old if new == BELOW else new for new, old in zip(mixed, _blocks(entry), strict=True)]
        if BELOW not in mixed:
            break
    return BELOW if mixed is None else tuple(mixed)


def _extend(pieces: list[Piece], offset: int, blocks: int, position: int) -> None:
    """Add a piece, or lengthen the last one when this continues it."""
    if pieces:
        last_offset, last_blocks, last_position = pieces[-1]
        follows = last_position if position < 0 else last_position + last_blocks
        if position == follows and (position < 0) == (last_position < 0):
            pieces[-1] = (last_offset, last_blocks + blocks, last_position)
            return
    pieces.append((offset, blocks, position))
