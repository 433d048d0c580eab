"""The dirty map: which regions of which volumes changed without a journal since the group was in step.

Owns one file. Its being there, with its state, IS what the volume server goes
by after a restart:

| file | state | host writes | what it means |
|---|---|---|---|
| none | | journaled | the other site has, or gets by journal, everything |
| there | draining | none | journaling was given up; what is only in the journal is on its way to the volumes |
| there | suspended | direct | a region's bit is durable before the data it stands for is written |
| there | resync | journaled | bits stand still: the set that a differential copy brings over |

`epoch` names the set: a later suspension keeps the bits, adds to them and
takes a new epoch, so that the end of a copy of the old set never clears the
new one. Knows nothing of why the group is suspended or of how it is brought
back.

Bits are set in place in the file (`dirty_file.py`); what its header says
changes by a new file that takes the old one's name.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from controller import durable
from controller.errors import NotDurableError, NotFoundError, StorageError
from controller.journal.access import write_fully
from controller.journal.pointers import Position
from controller.volume import regions
from controller.volume.dirty_file import HEADER_BYTES, MapHead, VolumeBits, compose, read
from controller.volume.regions import REGION_BYTES


class DirtyMap:
    """An open dirty map. Any thread may mark and read; `change` is for one at a time."""

    def __init__(self, path: str, file: int, group_uuid: str, head: MapHead, bits: dict[int, VolumeBits]) -> None:
        self.path = path
        self.group_uuid = group_uuid
        self.head = head
        self._file = file
        self._bits = bits
        self._lock = threading.Lock()
        self._failure: StorageError | None = None

    @classmethod
    def create(
        cls,
        path: str,
        group_uuid: str,
        position: Position,
        sizes_bytes: Mapping[int, int],
        head: MapHead | None = None,
        packed: Mapping[int, bytes] | None = None,
    ) -> DirtyMap:
        """A map of volumes (index: size), clean but for the bits in `packed`. It counts, durably, from its return on.

        An epoch is given anew unless `head` has one; `position` overrides the head's.
        """
        head = replace(head or MapHead(), position=position)
        head = replace(
            head,
            epoch=head.epoch or str(uuid.uuid4()),
            covered_sequence=max(head.covered_sequence, position.sequence),
        )
        bits, offset = dict[int, VolumeBits](), HEADER_BYTES
        for index, size_bytes in sizes_bytes.items():
            flags = regions.unpack((packed or {}).get(index, b""), size_bytes)
            bits[index] = VolumeBits(size_bytes, offset, flags)
            offset += regions.packed_bytes(size_bytes)
        try:
            file = durable.replace(path, compose(group_uuid, head, bits))
        except NotDurableError:
            with suppress(StorageError):  # else a restart would go by it, and nothing here does
                durable.remove(path)
            raise
        return cls(path, file, group_uuid, head, bits)

    @classmethod
    def open(cls, path: str, group_uuid: str) -> DirtyMap:
        """The map at `path`; NotFoundError when there is none, IntegrityError when it is damaged."""
        try:
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFoundError(
                f"dirty map {path} is missing",
                hint="Put it back; without it the pair needs a whole new copy.",
                path=path,
            ) from None
        except OSError as error:
            raise StorageError(
                f"cannot open dirty map {path}: {(error.strerror or str(error)).lower()}",
                hint=durable.hint_for(error),
                path=path,
            ) from error
        try:
            head, bits = read(file, path, group_uuid)
        except OSError as error:
            os.close(file)
            raise StorageError(
                f"cannot read dirty map {path}: {(error.strerror or str(error)).lower()}",
                hint=durable.hint_for(error),
                path=path,
            ) from error
        except BaseException:
            os.close(file)
            raise
        return cls(path, file, group_uuid, head, bits)

    @classmethod
    def take_up(cls, path: str, group_uuid: str) -> DirtyMap:
        """As `open`, for who lets writes go by it: whatever it says is durable. StorageError when the disk refuses.

        Whose sync failed, or who died before it, left bits in the page cache.
        They are written in place: a disk without room has room for that.
        """
        marks = cls.open(path, group_uuid)
        try:
            with marks._lock:
                marks._store(compose(group_uuid, marks.head, marks._bits), 0)
            marks._sync_name()
        except BaseException:
            marks.close()
            raise
        return marks

    @property
    def position(self) -> Position:
        """Up to here a journal tells what changed."""
        return self.head.position

    def mark(self, index: int, offset: int, count: int) -> None:
        """Make the bits of a byte range durable; at once when they are. StorageError when the disk refuses."""
        first, last = offset // REGION_BYTES, -(-(offset + count) // REGION_BYTES)
        if self._bits[index].durable.find(0, first, last) < 0:
            return
        with self._lock:
            bits = self._bits[index]  # as they are now: a change of the map makes others
            if bits.durable.find(0, first, last) < 0:
                return
            start, end = first // 8, -(-last // 8)
            packed = bytearray(end - start)
            for region in range(start * 8, min(end * 8, len(bits.durable))):
                if first <= region < last or bits.durable[region]:
                    packed[region // 8 - start] |= 1 << region % 8
            self._store(packed, bits.file_offset + start)
            bits.durable[first:last] = b"\1" * (last - first)

    def change(self, head: MapHead, packed: Mapping[int, bytes] | None = None) -> None:
        """Replace the header, add the bits in `packed`, keep all others; durable when this returns.

        StorageError: nothing has changed. NotDurableError: the file is the new
        one, and which one a power cut leaves is not known; what is not marked
        yet cannot be marked from there on, until a change succeeds.
        """
        with self._lock:
            bits = {index: replace(old, durable=bytearray(old.durable)) for index, old in self._bits.items()}
            for index, more in (packed or {}).items():
                bits[index].durable = regions.merged(bits[index].durable, regions.unpack(more, bits[index].size_bytes))
            covered = max(self.head.covered_sequence, head.covered_sequence, head.position.sequence)
            head = replace(head, covered_sequence=covered)
            try:
                file = durable.replace(self.path, compose(self.group_uuid, head, bits))
            except NotDurableError as error:
                self._failure = error
                raise
            os.close(self._file)
            self._file, self._bits, self.head = file, bits, head
            self._failure = None  # all of it was written anew

    def renew(self, head: MapHead, packed: Mapping[int, bytes]) -> None:
        """As `change`, under a new epoch: who still copies the old set cannot clear this one."""
        self.change(replace(head, epoch=str(uuid.uuid4())), packed)

    def _store(self, packed: bytes | bytearray, offset: int) -> None:
        if self._failure is not None:  # a sync that failed once: a later success would prove nothing
            raise self._failure
        try:
            write_fully(self._file, memoryview(packed), offset)
            os.fdatasync(self._file)
        except OSError as error:
            self._failure = StorageError(
                f"cannot write dirty map {self.path}: {(error.strerror or str(error)).lower()}",
                hint=durable.hint_for(error),
                path=self.path,
            )
            raise self._failure from error

    def _sync_name(self) -> None:
        try:
            durable.sync_directory(Path(self.path).parent)
        except OSError as error:
            raise durable.refused(self.path, error) from error

    def dirty_bytes(self) -> int:
        """How much a resync has to look at, all volumes together."""
        return sum(count for index in self._bits for _, count in self.regions(index))

    def regions(self, index: int) -> Iterator[tuple[int, int]]:
        """The changed areas of a volume in order: (byte offset, bytes), neighbours merged."""
        bits = self._bits[index]
        yield from regions.areas(bits.durable, bits.size_bytes)

    def packed(self) -> dict[int, bytes]:
        """The bits of every volume, eight to a byte, lowest first."""
        return {index: regions.pack(bits.durable) for index, bits in self._bits.items()}

    def close(self) -> None:
        """Close the file; what it says stays in force."""
        os.close(self._file)

    def remove(self) -> None:
        """Durably forget the map and what changed. StorageError: it is still in force, and may be removed again."""
        try:
            durable.remove(self.path)
        except NotDurableError as error:
            self._failure = error  # a mark in a file without a name is found by nobody
            with suppress(StorageError):
                self.change(self.head)
            raise
        self.close()


def exists(path: str) -> bool:
    """True when a group has a map: it is suspended, or a differential copy is not reported done."""
    return Path(path).exists()


def forget(path: str) -> None:
    """Durably remove a map that nobody has open; one that is not there is no error."""
    durable.remove(path)


def head_of(path: str, group_uuid: str) -> MapHead | None:
    """What the map at `path` says; None when there is none."""
    try:
        marks = DirtyMap.open(path, group_uuid)
    except NotFoundError:
        return None
    marks.close()
    return marks.head
