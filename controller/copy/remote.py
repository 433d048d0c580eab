"""The primary's journal as the secondary sees it over the data link.

Owns the addresses of the other site: where a sequence and a data position lie
in a journal volume of that size, and whether the volume that answers is the
one that was named. Trusts no record: the caller verifies.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from controller.api.models import CopySource
from controller.copy.in_flight import Range
from controller.copy.link import DataLink, LinkMaker
from controller.copy.ways import Way
from controller.errors import IntegrityError, PeerError
from controller.journal.layout import BLOCK_BYTES, HEADER_SLOT_LBAS, RECORD_BYTES, RECORD_DTYPE, Header, Records
from controller.journal.pointers import PAGE_BYTES, Pointer, Position, parse_page

PAGE_READS_MAX: Final = 5


class RemoteJournal:
    """Reads one primary's journal; for one thread at a time.

    Every method may raise PeerError (retry) and connects by itself.
    """

    def __init__(
        self,
        source: CopySource,
        *,
        deadline_seconds: float = 3.0,
        stop: threading.Event | None = None,
        link_type: LinkMaker = DataLink,
        way: Way | None = None,
    ) -> None:
        self.source = source
        self._journal = link_type(source.links.journal_uri, deadline_seconds=deadline_seconds, stop=stop)
        self._pages = link_type(source.links.pointers_uri, deadline_seconds=deadline_seconds, stop=stop)
        self._members = [
            link_type(uri, deadline_seconds=deadline_seconds, stop=stop) for uri in source.links.member_uris
        ]
        for link in (self._journal, *self._members, self._pages):
            link.way = way
        area = source.composition
        self._segments = area.segments
        self.slot_count = area.metadata_block_count * BLOCK_BYTES // RECORD_BYTES
        self._records_start = area.metadata_head_lba * BLOCK_BYTES
        self._data_start = area.data_head_lba * BLOCK_BYTES
        self._data_bytes = area.data_block_count * BLOCK_BYTES
        self._page, self._seen = bytearray(PAGE_BYTES), bytearray(PAGE_BYTES)
        self._durable = Position()

    @property
    def session(self) -> int:
        """Number of the journal's present connection; 0 when there is none."""
        return self._journal.connections if self._journal.connected else 0

    @property
    def compressed(self) -> bool:
        """Whether the journal is read compressed now."""
        return self._journal.compressed

    def reconsider(self) -> None:
        """Before what belongs together begins: connections that could be compressed by now are made anew."""
        for link in (self._journal, *self._members, self._pages):
            link.reconsider()

    def durable(self) -> Position:
        """The newest journal that the primary cannot lose."""
        self._pages.read_ranges([(0, PAGE_BYTES, memoryview(self._page))])
        if self._page != self._seen:  # an idle primary's page comes ten times a second and is always the same
            try:
                self._durable = parse_page(bytes(self._page))[Pointer.DURABLE]
            except IntegrityError:
                self._durable = read_durable(self._pages, self._page)
            self._seen[:] = self._page
        return self._durable

    def greet(self) -> None:
        """Connect, and refuse a journal volume that is not the one which the order names."""
        slots = bytearray(max(HEADER_SLOT_LBAS) * BLOCK_BYTES + BLOCK_BYTES)
        self._journal.read_ranges([(0, len(slots), memoryview(slots))])
        header = _newest_header(slots, self._journal.uri)
        area, named = self.source.composition, self.source
        found = (header.metadata_head_lba, header.metadata_block_count, header.data_head_lba, header.data_block_count)
        stated = (area.metadata_head_lba, area.metadata_block_count, area.data_head_lba, area.data_block_count)
        for what, seen, wanted in (
            ("group", header.group_uuid, str(uuid.UUID(named.uuid))),
            ("journal volume", header.journal_uuid, str(uuid.UUID(area.journal_uuid))),
            ("composition", found, stated),
        ):
            if seen != wanted:
                if what == "journal volume":
                    raise self._replaced(str(seen))
                raise IntegrityError(
                    f"{self._journal.uri} answers with {what} {seen}, the order names {wanted}",
                    hint="Check the address of the primary's journal server; nothing was copied.",
                    uri=self._journal.uri,
                )

    def _replaced(self, found: str) -> PeerError:
        """The group's journal moved to another volume: a lost link until the next order names that one."""
        self.close()
        return PeerError(
            f"{self._journal.uri} answers with journal volume {found}, the order names "
            f"{self.source.composition.journal_uuid}",
            hint="The primary's journal was moved; the copy goes on when its agent has told where to.",
            uri=self._journal.uri,
        )

    def record_ranges(self, first: int, count: int, view: memoryview) -> Iterator[Range]:
        """What to read for records `first` and following, into a view of their length."""
        size = self.slot_count * RECORD_BYTES
        return _wrapped(self._records_start, size, first * RECORD_BYTES, [view[: count * RECORD_BYTES]])

    def data_ranges(self, position: int, views: Sequence[memoryview]) -> Iterator[Range]:
        """What to read for data from `position` on, into views that lie one behind the other."""
        return _wrapped(self._data_start, self._data_bytes, position * BLOCK_BYTES, views)

    def read(self, *ranges: Iterator[Range]) -> None:
        """Fetch ranges at once, several reads in flight."""
        pieces = (piece for group in ranges for piece in group)
        if not self._segments:
            self._journal.read_ranges(pieces)
            return
        of_member: dict[int, list[Range]] = {}
        for offset, length, view in pieces:
            for member, at, part in self._located(offset, length, view):
                of_member.setdefault(member, []).append((at, len(part), part))
        for member in sorted(of_member):
            (self._journal if member == 0 else self._members[member - 1]).read_ranges(of_member[member])

    def _located(self, offset: int, length: int, view: memoryview) -> Iterator[tuple[int, int, memoryview]]:
        """A range of the journal as pieces of its volumes: (member, byte offset there, part of the view)."""
        if offset < self._data_start:
            yield 0, offset, view
            return
        start = self._data_start
        for segment in self._segments:
            size = segment.block_count * BLOCK_BYTES
            begin, end = max(offset, start), min(offset + length, start + size)
            if begin < end:
                at = segment.head_lba * BLOCK_BYTES + begin - start
                yield segment.member, at, view[begin - offset : end - offset]
            start += size

    def record(self, sequence: int) -> Records:
        """The one slot of a sequence, whatever it holds."""
        buffer = bytearray(RECORD_BYTES)
        self.read(self.record_ranges(sequence, 1, memoryview(buffer)))
        return np.frombuffer(buffer, RECORD_DTYPE)

    def close(self) -> None:
        """Drop the connections; the next use makes new ones."""
        for link in (self._journal, *self._members, self._pages):
            link.close()


def read_durable(link: DataLink, buffer: bytearray) -> Position:
    """The DURABLE pointer of a page read over the link.

    A page caught while both lines of a pointer were in motion is read again.
    """
    for attempt in range(PAGE_READS_MAX):
        link.read_ranges([(0, PAGE_BYTES, memoryview(buffer))])
        try:
            return parse_page(bytes(buffer))[Pointer.DURABLE]
        except IntegrityError:
            if attempt == PAGE_READS_MAX - 1:
                raise
    raise AssertionError("unreachable")


def _wrapped(start: int, size: int, at: int, views: Sequence[memoryview]) -> Iterator[Range]:
    """Pieces of a ring of `size` bytes at `start`, from the ring's byte `at` on, one for each view and wrap."""
    for view in views:
        done = 0
        while done < len(view):
            offset = (at + done) % size
            length = min(len(view) - done, size - offset)
            yield start + offset, length, view[done : done + length]
            done += length
        at += done


def _newest_header(slots: bytearray, uri: str) -> Header:
    found: list[Header] = []
    failure: IntegrityError | None = None
    for lba in HEADER_SLOT_LBAS:
        block = bytes(slots[lba * BLOCK_BYTES : (lba + 1) * BLOCK_BYTES])
        try:
            found.append(Header.unpack(block, uri))
        except IntegrityError as error:
            failure = failure or error
    if not found:
        assert failure is not None
        raise failure
    return max(found, key=lambda header: header.serial)
