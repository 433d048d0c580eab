"""A journal volume made of several: header, metadata and the first data on the first, more data on each other one.

Owns how such a journal is laid out, opened and used; the document and the
labels that make it one are members.py's. To everybody else it is a journal
volume like any other (FORMAT.md, "Journal of several volumes").
"""

from __future__ import annotations

import json
import mmap
import os
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np
from typing_extensions import Buffer

from controller import durable
from controller.errors import CapacityError, IntegrityError, MissingFileError
from controller.journal.access import volume_size_bytes, write_pages
from controller.journal.layout import BLOCK_BYTES, HEADER_SLOT_LBAS, RECORD_DTYPE, Header, compose
from controller.journal.maps import map_over
from controller.journal.members import (
    MEMBERS_MAX,
    Member,
    check_label,
    label,
    parse_document,
    refuse_foreign,
    spans_of,
)
from controller.journal.store import SET_MAGIC, allocate, lock, read_header, unlock
from controller.journal.volume import JournalVolume


class DataRun(NamedTuple):
    """A run of the data area, and where on which member it lies; in blocks."""

    member: int
    head_lba: int
    block_count: int


def create(path: str, sources: Sequence[str], group_uuid: str, generation: int) -> Header:
    """Lay out a journal over existing volumes, whole; the document at `path`, written last, makes it one. Durable.

    StorageError names the volume that refuses.
    """
    if len(sources) > MEMBERS_MAX:
        raise CapacityError(f"a journal is made of {MEMBERS_MAX} volumes at most", hint="Name fewer and larger ones.")
    with ExitStack() as stack:
        files = list[int]()
        for source in sources:
            with durable.refusals(source):
                files.append(os.open(source, os.O_RDWR | os.O_CLOEXEC))
            stack.callback(os.close, files[-1])
        members = [
            Member(source, allocate(file, source, 0) // mmap.PAGESIZE * mmap.PAGESIZE)
            for source, file in zip(sources, files, strict=True)
        ]
        spans = spans_of(members)
        header = compose(spans[-1].start + spans[-1].length, group_uuid, generation, time.time_ns())
        if header.data_head_lba * BLOCK_BYTES > members[0].size_bytes:
            raise CapacityError(
                f"journal volume {sources[0]} is too small: the records of all volumes lie on the first,"
                f" and need {header.data_head_lba * BLOCK_BYTES} bytes",
                hint="Name the largest volume first.",
                path=sources[0],
            )
        for number, file in enumerate(files):
            with durable.refusals(sources[number]):  # which of the disks it is
                if number:
                    os.pwrite(file, label(header, number, members), 0)
                else:
                    _write_head(file, header)
                os.fsync(file)
    document = {
        "journal_uuid": header.journal_uuid,
        "members": [{"path": member.path, "size_bytes": member.size_bytes} for member in members],
    }
    durable.write_bytes(path, SET_MAGIC + json.dumps(document, indent=1).encode() + b"\n")
    return header


def _write_head(file: int, header: Header) -> None:
    """The header, and room for records: the volume may hold some of an earlier life."""
    start, end = header.metadata_head_lba * BLOCK_BYTES, header.data_head_lba * BLOCK_BYTES
    for offset in range(start, end, 1 << 20):
        os.pwrite(file, bytes(min(1 << 20, end - offset)), offset)
    for lba in HEADER_SLOT_LBAS:
        os.pwrite(file, header.pack(), lba * BLOCK_BYTES)


class SpannedJournal(JournalVolume):
    """An open journal of several volumes; `file` is the first member."""

    def __init__(  # the base opens one file, this does all of its work for several
        self, path: str, files: list[int], members: list[Member], header: Header, writable: bool
    ) -> None:
        self.files = files
        self.members = members
        self.file = files[0]
        self.path = path
        self.header = header
        self.writable = writable
        self.several = True
        self.slot_count = header.slot_count
        self.data_blocks = header.data_block_count
        self._data_start = header.data_head_lba * BLOCK_BYTES
        self._data_bytes = header.data_block_count * BLOCK_BYTES
        self._slots_start = header.metadata_head_lba * BLOCK_BYTES
        self._spans = spans_of(members)
        self._starts = [span.start for span in self._spans]
        self._address, self._view = map_over(files, self._spans, writable)
        self._map = self._view
        self._slots = np.frombuffer(self._view, RECORD_DTYPE, self.slot_count, self._slots_start)

    def write_data(self, position: int, buffer: Buffer, free: int = 0) -> None:
        view = memoryview(buffer).cast("B")
        done = 0
        for number, offset, length in self._places(position, len(view)):
            write_pages(self.files[number], view[done : done + length], offset, free * BLOCK_BYTES)
            done += length

    def read_into(self, position: int, buffer: Buffer) -> None:
        view = memoryview(buffer).cast("B")
        done = 0
        for number, offset, length in self._places(position, len(view)):
            if os.preadv(self.files[number], [view[done : done + length]], offset) != length:
                raise IntegrityError(f"journal volume {self.members[number].path} ends too early", path=self.path)
            done += length

    def sync(self) -> None:
        """Every member, since data also comes by the map; that with the records last."""
        for file in reversed(self.files):
            os.fdatasync(file)

    def close(self) -> None:
        del self._slots
        self._map = self._view = memoryview(b"")  # the pages go with the last view of them
        for file in self.files:
            unlock(file)
            os.close(file)

    def segments(self) -> list[DataRun]:
        """Where the data lies, in order."""
        end, found = self._data_start + self._data_bytes, []
        for span in self._spans:
            start, stop = max(span.start, self._data_start), min(span.start + span.length, end)
            if start < stop:
                head = (span.offset + start - span.start) // BLOCK_BYTES
                found.append(DataRun(member=span.member, head_lba=head, block_count=(stop - start) // BLOCK_BYTES))
        return found

    def _places(self, position: int, length_bytes: int) -> Iterator[tuple[int, int, int]]:
        """Where data lies: (member, byte offset on it, bytes), in order."""
        for start, left in self.pieces(position, length_bytes):
            while left:
                span = self._spans[bisect_right(self._starts, start) - 1]
                length = min(left, span.start + span.length - start)
                yield span.member, span.offset + start - span.start, length
                start, left = start + length, left - length


def open_spanned(path: str, document: bytes, *, writable: bool, group_uuid: str | None) -> SpannedJournal:
    """Open every member, and refuse by name one that is missing, foreign, swapped or truncated."""
    journal_uuid, members = parse_document(document, path)
    with ExitStack() as undo:
        files = []
        for member in members:
            try:
                file = os.open(member.path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC)
            except FileNotFoundError:
                raise MissingFileError(
                    f"journal volume {member.path} of {path} is missing",
                    hint="Put it back; it may hold what no volume has yet.",
                    path=member.path,
                ) from None
            undo.callback(os.close, file)
            files.append(file)
            if writable:
                lock(file, member.path)
            present = volume_size_bytes(file)
            if present < member.size_bytes:
                raise IntegrityError(
                    f"journal volume {member.path} is truncated: {present} of {member.size_bytes} bytes",
                    hint="Keep what is left of it and look at its disk; nothing was changed.",
                    path=member.path,
                )
        header = read_header(files[0], members[0].path)
        refuse_foreign(members[0], header.journal_uuid, journal_uuid)
        if group_uuid is not None and header.group_uuid != group_uuid:
            raise IntegrityError(
                f"journal volume {path} belongs to group {header.group_uuid}, not to {group_uuid}",
                hint="Put the right journal volume back; nothing was changed.",
                path=path,
            )
        for number, member in enumerate(members[1:], 1):
            check_label(files[number], member, header, number, members)
        journal = SpannedJournal(path, files, members, header, writable)
        undo.pop_all()
        return journal
