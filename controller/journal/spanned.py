"""A journal volume made of several: header, metadata and the first data on the first, more data on each other one.

Owns the document that stands for such a journal under its name, the label of
each further member, and the one map over all of them. To everybody else it is
a journal volume like any other (FORMAT.md, "Journal of several volumes").
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import struct
import time
import uuid
import weakref
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any, Final, NamedTuple

import numpy as np
from typing_extensions import Buffer

from controller import durable
from controller.checksum import crc32c
from controller.errors import CapacityError, IntegrityError, MissingFileError
from controller.journal.access import volume_size_bytes, write_pages
from controller.journal.layout import BLOCK_BYTES, HEADER_SLOT_LBAS, RECORD_DTYPE, Header, compose
from controller.journal.store import SET_MAGIC, allocate, lock, read_header, unlock
from controller.journal.volume import JournalVolume

LABEL_BYTES: Final = 4096
LABEL_MAGIC: Final = b"PVOLJMBR"
MEMBERS_MAX: Final = 64
LABEL_FIELDS: Final = (
    ("magic", "8s"),
    ("version", "I"),
    ("index", "H"),
    ("count", "H"),
    ("journal_uuid", "16s"),
    ("group_uuid", "16s"),
    ("size_bytes", "Q"),
)
_LABEL: Final = struct.Struct("<" + "".join(code for _, code in LABEL_FIELDS))
_CRC: Final = struct.Struct("<I")
_MAP_SHARED: Final = 0x01
_MAP_FIXED: Final = 0x10
_MAP_NOWHERE: Final = 0x4022  # private, anonymous, no swap reserved: only addresses

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_longlong)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)


class Member(NamedTuple):
    path: str
    size_bytes: int  # of it that is used, its label included


class DataRun(NamedTuple):
    """A run of the data area, and where on which member it lies; in blocks."""

    member: int
    head_lba: int
    block_count: int


class Span(NamedTuple):
    """A run of bytes of the journal, and where on which member it lies."""

    start: int
    member: int
    offset: int
    length: int


def spans_of(members: Sequence[Member]) -> list[Span]:
    """Where each run of the journal lies; the first member has no label but the header."""
    found, start = list[Span](), 0
    for number, member in enumerate(members):
        offset = LABEL_BYTES if number else 0
        found.append(Span(start, number, offset, member.size_bytes - offset))
        start += member.size_bytes - offset
    return found


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
                    os.pwrite(file, _label(header, number, members), 0)
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


def members_of(path: str) -> list[Member] | None:
    """The members of the journal that a document stands for; None for a journal on one volume."""
    with open(path, "rb") as file:
        if file.read(len(SET_MAGIC)) != SET_MAGIC:
            return None
        return _parse(file.read(), path)[1]


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
        self._address, self._view = _map(files, self._spans, writable)
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
    journal_uuid, members = _parse(document, path)
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
        _refuse_foreign(members[0], header.journal_uuid, journal_uuid)
        if group_uuid is not None and header.group_uuid != group_uuid:
            raise IntegrityError(
                f"journal volume {path} belongs to group {header.group_uuid}, not to {group_uuid}",
                hint="Put the right journal volume back; nothing was changed.",
                path=path,
            )
        for number, member in enumerate(members[1:], 1):
            _check_label(files[number], member, header, number, members)
        journal = SpannedJournal(path, files, members, header, writable)
        undo.pop_all()
        return journal


def _parse(document: bytes, path: str) -> tuple[str, list[Member]]:
    try:
        content: dict[str, Any] = json.loads(document)
        members = [Member(str(each["path"]), int(each["size_bytes"])) for each in content["members"]]
        return str(content["journal_uuid"]), members
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(
            f"document {path} does not name the volumes of a journal: {error!r}",
            hint="Put a copy of that file back; nothing was changed.",
            path=path,
        ) from error


def _label(header: Header, number: int, members: Sequence[Member]) -> bytes:
    body = _LABEL.pack(
        LABEL_MAGIC,
        1,
        number,
        len(members),
        uuid.UUID(header.journal_uuid).bytes,
        uuid.UUID(header.group_uuid).bytes,
        members[number].size_bytes,
    ).ljust(LABEL_BYTES - 4, b"\0")
    return body + _CRC.pack(crc32c(body))


def _check_label(file: int, member: Member, header: Header, number: int, members: Sequence[Member]) -> None:
    found = os.pread(file, LABEL_BYTES, 0)
    if found == _label(header, number, members):
        return
    whole = len(found) == LABEL_BYTES and _CRC.unpack_from(found, LABEL_BYTES - 4)[0] == crc32c(found[:-4])
    words = "carries no label of a journal volume"
    if whole and found.startswith(LABEL_MAGIC):
        _, _, is_number, count, *_ = _LABEL.unpack_from(found)
        words = f"is number {is_number} of {count} of a journal, wanted is {number} of {len(members)} of this one"
    raise IntegrityError(
        f"journal volume {member.path} {words}",
        hint="Put the right volumes back in their places; nothing was changed.",
        path=member.path,
    )


def _refuse_foreign(member: Member, found: str, wanted: str) -> None:
    if found != wanted:
        raise IntegrityError(
            f"journal volume {member.path} belongs to journal {found}, not to {wanted}",
            hint="Put the right volumes back in their places; nothing was changed.",
            path=member.path,
        )


def _map(files: Sequence[int], spans: Sequence[Span], writable: bool) -> tuple[int, memoryview]:
    """One run of addresses over all members: its begin, and a view that keeps it mapped."""
    total = spans[-1].start + spans[-1].length
    address = _mapped(None, total, 0, _MAP_NOWHERE, -1, 0)
    protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
    try:
        for span in spans:
            flags = _MAP_SHARED | _MAP_FIXED
            _mapped(address + span.start, span.length, protection, flags, files[span.member], span.offset)
    except OSError:
        _libc.munmap(address, total)
        raise
    held = (ctypes.c_ubyte * total).from_address(address)
    weakref.finalize(held, _libc.munmap, address, total)
    view = memoryview(held).cast("B")
    return address, view if writable else view.toreadonly()


def _mapped(address: int | None, length: int, protection: int, flags: int, file: int, offset: int) -> int:
    found = _libc.mmap(address, length, protection, flags, file, offset)
    if found is None or found == ctypes.c_void_p(-1).value:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(found)
