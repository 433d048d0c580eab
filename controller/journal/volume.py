"""A journal volume: the cyclic store of records and their data, mapped.

Owns the file and the address arithmetic of both areas. It keeps no pointers
and no order of its own: callers say which sequence and which data position,
and hold whatever lock makes that right.
"""

from __future__ import annotations

import mmap
import os
import time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

from controller import durable
from controller.errors import ConflictError, IntegrityError, MissingFileError, StorageError
from controller.journal.access import populate, read_at, volume_size_bytes, write_pages
from controller.journal.layout import (
    BLOCK_BYTES,
    HEADER_SLOT_LBAS,
    RECORD_BYTES,
    RECORD_DTYPE,
    Header,
    Records,
    compose,
)
from controller.journal.store import allocate, lock, read_header, set_document, unlock
from controller.journal.written import write_whole


class Areas(NamedTuple):
    """The mapped journal volume and its areas: offsets and lengths in bytes, slots in records."""

    map: mmap.mmap  # of several volumes: a view of one run over all of them
    data_start: int
    data_bytes: int
    slots_start: int
    slot_count: int


class JournalVolume:
    """An open journal volume.

    Writing is for one process (an exclusive lock on the file); within it data
    and records may be written by one thread at a time, and read by any.
    Nothing survives a power cut before `sync`. Views and record arrays refer
    to the map and are valid until `close`.
    """

    def __init__(self, file: int, path: str, header: Header, writable: bool) -> None:
        self.file = file
        self.path = path
        self.header = header
        self.writable = writable
        self.several = False  # volumes that it is made of
        self.slot_count = header.slot_count
        self.data_blocks = header.data_block_count
        self._data_start = header.data_head_lba * BLOCK_BYTES
        self._data_bytes = header.data_block_count * BLOCK_BYTES
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        self._map: Any = mmap.mmap(file, header.end_bytes, access=access)
        self._view = memoryview(self._map)
        self._address = int(np.frombuffer(self._map, np.uint8).ctypes.data)
        self._slots_start = header.metadata_head_lba * BLOCK_BYTES
        self._slots = np.frombuffer(self._map, RECORD_DTYPE, self.slot_count, self._slots_start)

    @classmethod
    def create(cls, path: str, size_bytes: int, group_uuid: str, generation: int) -> Header:
        """Allocate and lay out a journal volume; durable before it returns.

        `path` is a new file, or an existing file or block device whose whole
        length is used (`size_bytes` 0) or must suffice. CapacityError when
        the disk has no room, StorageError when it refuses; a file made here
        is removed again then.
        """
        made = not os.path.exists(path)
        with durable.refusals(path):
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size_bytes = allocate(file, path, size_bytes)
            header = compose(size_bytes, group_uuid, generation, time.time_ns())
            start = header.metadata_head_lba * BLOCK_BYTES
            if made:
                write_whole(file, size_bytes)
            else:  # a used volume may hold records of an earlier life
                for offset in range(start, header.data_head_lba * BLOCK_BYTES, 1 << 20):
                    length = min(1 << 20, header.data_head_lba * BLOCK_BYTES - offset)
                    os.pwrite(file, bytes(length), offset)
            for lba in HEADER_SLOT_LBAS:
                os.pwrite(file, header.pack(), lba * BLOCK_BYTES)
            os.fsync(file)
        except BaseException as error:
            if made:
                os.unlink(path)
            if isinstance(error, OSError):
                raise durable.refused(path, error) from error
            raise
        finally:
            os.close(file)
        return header

    @classmethod
    def open(cls, path: str, *, writable: bool, group_uuid: str | None = None) -> JournalVolume:
        """Open an existing journal volume.

        Refuses by name: a missing file, another group's journal, a truncated
        one, a damaged header, and (writable) one that a process has open.
        """
        try:
            file = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC)
        except FileNotFoundError:
            raise MissingFileError(
                f"journal volume {path} is missing",
                hint="Put it back: it may hold what no volume has yet. If it is lost for good, "
                "delete the pair with --force and create it again.",
                path=path,
            ) from None
        except OSError as error:
            raise StorageError(
                f"cannot open journal volume {path}: {(error.strerror or str(error)).lower()}",
                hint=durable.hint_for(error),
                path=path,
            ) from error
        document = set_document(file)
        if document is not None:
            from controller.journal.spanned import open_spanned  # which is built upon this

            os.close(file)
            return open_spanned(path, document, writable=writable, group_uuid=group_uuid)
        try:
            if writable:
                lock(file, path)
            header = read_header(file, path)
            if group_uuid is not None and header.group_uuid != group_uuid:
                raise IntegrityError(
                    f"journal volume {path} belongs to group {header.group_uuid}, not to {group_uuid}",
                    hint="Put the right journal volume back; nothing was changed.",
                    path=path,
                )
            if volume_size_bytes(file) < header.end_bytes:
                raise IntegrityError(
                    f"journal volume {path} is truncated: {volume_size_bytes(file)} of {header.end_bytes} bytes",
                    hint="Keep what is left of it and look at its disk; nothing was changed.",
                    path=path,
                )
            return cls(file, path, header, writable)
        except BaseException:
            os.close(file)
            raise

    @classmethod
    def header_of(cls, path: str) -> Header:
        """The header of the journal volume at a path as it is now."""
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise MissingFileError(f"journal volume {path} is missing", hint="Put it back.", path=path) from None
        try:
            if set_document(file) is None:
                return read_header(file, path)
        finally:
            os.close(file)
        journal = cls.open(path, writable=False)
        journal.close()
        return journal.header

    def set_generation(self, generation: int) -> None:
        """Raise the generation; durable before it returns. A lower one is refused."""
        if generation < self.header.generation:
            raise ConflictError(f"generation {generation} is lower than {self.header.generation} of {self.path}")
        if generation == self.header.generation:
            return
        header = self.header.successor(generation)
        os.pwrite(self.file, header.pack(), HEADER_SLOT_LBAS[header.serial % 2] * BLOCK_BYTES)
        os.fdatasync(self.file)
        self.header = header

    @property
    def areas(self) -> Areas:
        """The map and where the areas lie in it, for compiled code."""
        return Areas(self._map, self._data_start, self._data_bytes, self._slots_start, self.slot_count)

    def pieces(self, position: int, length_bytes: int) -> list[tuple[int, int]]:
        """Where data lies: (byte offset in the volume, bytes), one piece or two."""
        start = position * BLOCK_BYTES % self._data_bytes
        first = min(length_bytes, self._data_bytes - start)
        if first == length_bytes:
            return [(self._data_start + start, length_bytes)]
        return [(self._data_start + start, first), (self._data_start, length_bytes - first)]

    def write_data(self, position: int, buffer: Buffer, free: int = 0) -> None:
        """Store data of whole blocks at a data position (pwrite: cheaper than the map for data).

        Of the `free` blocks behind it those up to the end of a page may become zeros.
        """
        view = memoryview(buffer).cast("B")
        done = 0
        for offset, length in self.pieces(position, len(view)):
            write_pages(self.file, view[done : done + length], offset, free * BLOCK_BYTES)  # the first ends with a page
            done += length

    def read_into(self, position: int, buffer: memoryview | bytearray) -> None:
        """Fill a writable buffer of whole blocks from a data position."""
        start = position * BLOCK_BYTES % self._data_bytes
        length = len(buffer)
        if start + length <= self._data_bytes and read_at(self.file, buffer, self._data_start + start) == length:
            return
        view = memoryview(buffer).cast("B")
        done = 0
        for offset, length in self.pieces(position, len(view)):
            if os.preadv(self.file, [view[done : done + length]], offset) != length:
                raise IntegrityError(f"journal volume {self.path} ends before its data area", path=self.path)
            done += length

    def data_views(self, position: int, blocks: int) -> list[memoryview]:
        """The mapped data itself, in one piece or two."""
        return [self._view[offset : offset + length] for offset, length in self.pieces(position, blocks * BLOCK_BYTES)]

    def fetch(self, position: int, blocks: int) -> None:
        """Have data in memory before it is looked at: a disk that cannot read is an error then, not a SIGBUS."""
        for offset, length in self.pieces(position, blocks * BLOCK_BYTES):
            self._populate(offset, length)

    def _populate(self, offset: int, length: int) -> None:
        try:
            populate(self._address, offset, length)
        except OSError as error:
            raise StorageError(
                f"cannot read journal volume {self.path} at byte {offset}",
                hint="Look at the journal's disks; nothing was changed.",
                path=self.path,
            ) from error

    def write_record(self, sequence: int, record: bytes, free: int = 0) -> None:
        """Store one packed record in its slot (pwrite: after each sync a store into the map would be a page fault).

        Of the `free` slots behind it those up to the end of a page may become empty.
        """
        self._write_slots(sequence % self.slot_count, record, free)

    def write_records(self, first: int, records: Records, free: int = 0) -> None:
        """Store records of consecutive sequences beginning with `first`; otherwise as one record."""
        slot = first % self.slot_count
        room = self.slot_count - slot
        if len(records) > room:
            self._write_slots(slot, records[:room].tobytes())
            slot, records = 0, records[room:]
        self._write_slots(slot, records.tobytes(), free)

    def wipe_records(self, slots: NDArray[np.intp]) -> None:
        """Make slots, by number in ascending order, empty."""
        ends = np.flatnonzero(np.diff(slots, append=-1) != 1) + 1
        for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True):
            self._write_slots(int(slots[start]), bytes((end - start) * RECORD_BYTES))

    def _write_slots(self, slot: int, content: bytes, free: int = 0) -> None:
        offset = self._slots_start + slot * RECORD_BYTES
        write_pages(self.file, memoryview(content), offset, free * RECORD_BYTES)

    def records(self, first: int, last: int) -> Records:
        """A copy of the slots of sequences `first` to `last`, whatever they hold."""
        count = last - first + 1
        if not 0 <= count <= self.slot_count:
            raise ValueError(f"{count} records asked of a journal of {self.slot_count}")
        slot = first % self.slot_count
        room = self.slot_count - slot
        self._populate(self._slots_start + slot * RECORD_BYTES, min(count, room) * RECORD_BYTES)
        if count <= room:
            return self._slots[slot : slot + count].copy()
        self._populate(self._slots_start, (count - room) * RECORD_BYTES)
        return np.concatenate((self._slots[slot:], self._slots[: count - room]))

    def all_records(self) -> Records:
        """Every slot of the metadata area in slot order, as it is in the map (not a copy); only to be looked at."""
        self._populate(self._slots_start, self.slot_count * RECORD_BYTES)
        return self._slots

    def sync(self) -> None:
        """Make everything written so far survive a power cut."""
        os.fdatasync(self.file)

    def close(self) -> None:
        """Unmap and unlock. Views handed out keep the map alive until they are gone."""
        del self._slots
        self._view.release()
        try:
            self._map.close()
        except BufferError:  # a view is still out; the map goes with it
            pass
        unlock(self.file)
        os.close(self.file)
