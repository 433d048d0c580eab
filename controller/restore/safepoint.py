"""The safe point: the way back of a secondary whose volumes are being copied over.

A differential copy makes the volumes a prefix of nothing until it ends. Before
it begins, a safe point is opened at a consistent state; from then on, whoever
writes to the volumes lets `protect` save the old content of what he is about
to overwrite, once. `roll_back` gives the state of the safe point back;
`discard` forgets it when the volumes are consistent again.

Owns a directory. `point.json` being there is the open safe point; `data` holds
old content in the order it was saved, `index` one entry of 40 bytes for each
piece. The order of writes is data, sync, index, sync, overwrite: an entry that
carries its checksum speaks of content that no power cut can take.

| offset | size | field | meaning |
|---|---|---|---|
| 0 | 2 | volume | index in the group |
| 2 | 2 | flags | 1: reads as zeros, no data |
| 4 | 4 | data_crc | CRC-32C of the old content |
| 8 | 8 | offset | on the volume, bytes |
| 16 | 8 | length | bytes |
| 24 | 8 | position | in `data`, bytes |
| 32 | 4 | reserved | 0 |
| 36 | 4 | entry_crc | CRC-32C of bytes 0 to 36 |

| crash after | next open | |
|---|---|---|
| files made, no `point.json` | no safe point | nothing was overwritten; the files are removed |
| `point.json` | open | |
| data, index | open | a torn entry ends the index: its piece was not overwritten |
| `point.json` says rolling back | rolling back | all is written back once more: same content, same end |
| `point.json` removed, directory not synced | no safe point | the directory is synced, the files are removed |
"""

from __future__ import annotations

import errno
import os
import shutil
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from controller import durable
from controller.checksum import crc32c
from controller.errors import CapacityError, IntegrityError, NotDurableError, NotFoundError, StorageError
from controller.journal.pointers import Position
from controller.volume import regions
from controller.volume.backing import Backing

UNIT_BYTES: Final = 64 << 10  # saved at a time; a part of a region, because restore overwrites small pieces
PIECE_BYTES_MAX: Final = 4 << 20
ENTRY_BYTES: Final = 40
ENTRIES_READ: Final = 16384
ZERO: Final = 1
_ENTRY: Final = struct.Struct("<HHIQQQI")
_CRC: Final = struct.Struct("<I")

Area = tuple[int, int, int]  # volume, byte offset, bytes


@dataclass(frozen=True, slots=True)
class _Entry:
    volume: int
    flags: int
    data_crc: int
    offset: int
    length: int
    position: int

    def pack(self) -> bytes:
        body = _ENTRY.pack(self.volume, self.flags, self.data_crc, self.offset, self.length, self.position, 0)
        return body + _CRC.pack(crc32c(body))


class SafePoint:
    """An open safe point. One thread at a time calls it: whoever holds the volumes' lock."""

    def __init__(self, directory: Path, backings: Mapping[int, Backing], document: dict[str, Any]) -> None:
        self.directory = directory
        self.position = Position(**document["position"])
        self.consistent_sequence: int = document["consistent_sequence"]
        self.rolling_back: bool = document["rolling_back"]
        self._backings = backings
        self._document = document
        flags = os.O_RDWR | os.O_CLOEXEC
        self._data, self._index = (os.open(directory / name, flags) for name in ("data", "index"))
        self._saved = {i: bytearray(-(-backing.size_bytes // UNIT_BYTES)) for i, backing in backings.items()}
        self._index_end = self._data_end = 0
        for entry in self._entries():
            self._index_end += ENTRY_BYTES
            self._take(entry)

    @classmethod
    def begin(
        cls, directory: Path, backings: Mapping[int, Backing], position: Position, consistent_sequence: int
    ) -> SafePoint:
        """Open a safe point here and now: the volumes hold, durably, everything up to `position` and nothing else."""
        shutil.rmtree(directory, ignore_errors=True)
        try:
            directory.mkdir(mode=0o700)
            for name in ("data", "index"):
                (directory / name).touch(mode=0o600)
            durable.sync_directory(directory)
            durable.sync_directory(directory.parent)
        except OSError as error:
            raise refused(directory, error) from error
        document = {
            "position": asdict(position),
            "consistent_sequence": consistent_sequence,
            "rolling_back": False,
        }
        try:
            durable.write_json(directory / "point.json", document)
            return cls(directory, backings, document)
        except (NotDurableError, OSError) as error:
            with suppress(StorageError):  # else a restart would find it, when more was overwritten unsaved
                durable.remove(directory / "point.json")
            if isinstance(error, OSError):
                raise refused(directory, error) from error
            raise

    @classmethod
    def open(cls, directory: Path, backings: Mapping[int, Backing]) -> SafePoint | None:
        """The safe point of that directory; None when there is none, and what was left of one is removed."""
        try:
            document = durable.read_json(directory / "point.json")
        except NotFoundError:
            durable.remove(directory / "point.json")  # who dropped it may have died before that was durable
            shutil.rmtree(directory, ignore_errors=True)
            return None
        point = cls(directory, backings, document)
        try:
            for file in (point._data, point._index):  # a process before us may have died before its sync
                os.fdatasync(file)
        except OSError as error:
            point.close()
            raise refused(directory, error) from error
        return point

    @property
    def bytes_saved(self) -> int:
        """How much old content is kept."""
        return self._data_end

    def protect(self, areas: Iterable[Area]) -> None:
        """Save what is about to be overwritten and was not saved yet; durable when this returns.

        CapacityError when there is no room: nothing may be overwritten then.
        """
        pending = [piece for area in areas for piece in self._unsaved(*area)]
        if not pending:
            return
        try:
            entries = self._save_all(pending)
        except BaseException as error:
            for volume, offset, length in pending:
                first, last = offset // UNIT_BYTES, -(-(offset + length) // UNIT_BYTES)
                self._saved[volume][first:last] = bytes(last - first)
            with suppress(OSError):  # what is not known durable must not be believed after a restart
                os.ftruncate(self._index, self._index_end)
            if isinstance(error, OSError):
                raise refused(self.directory, error) from error
            raise
        self._index_end += len(entries) * ENTRY_BYTES
        for entry in entries:
            self._take(entry)

    def _save_all(self, pieces: list[Area]) -> list[_Entry]:
        entries: list[_Entry] = []
        end = self._data_end
        for volume, offset, length in pieces:
            for start, count, is_data in self._backings[volume].extents(offset, length):
                entry = self._save(volume, start, count, is_data, end)
                entries.append(entry)
                end += 0 if entry.flags & ZERO else count
        os.fdatasync(self._data)
        os.pwrite(self._index, b"".join(entry.pack() for entry in entries), self._index_end)
        os.fdatasync(self._index)
        return entries

    def changed(self) -> dict[int, bytes]:
        """Packed sets of the regions that were overwritten since, by volume; never too little."""
        found: dict[int, bytes] = {}
        for index, backing in self._backings.items():
            flags = bytearray(regions.count_of(backing.size_bytes))
            for start, count in _runs(self._saved[index]):
                regions.mark(flags, start * UNIT_BYTES, count * UNIT_BYTES)
            found[index] = regions.pack(flags)
        return found

    def roll_back(self) -> None:
        """Bring the volumes back to the safe point, durably. Given again, also after a crash, it converges."""
        for entry in self._entries():
            self._content(entry)  # all of it is right, or nothing is touched
        self._document["rolling_back"] = True
        durable.write_json(self.directory / "point.json", self._document)
        self.rolling_back = True
        try:
            for entry in self._entries():
                backing = self._backings[entry.volume]
                if entry.flags & ZERO:
                    backing.punch(entry.offset, entry.length)
                else:
                    backing.pwrite(self._content(entry), entry.offset)
            for backing in self._backings.values():
                backing.sync()
        except OSError as error:
            raise refused(self.directory, error) from error

    def discard(self) -> None:
        """Forget the safe point, durably, and give its room back."""
        durable.remove(self.directory / "point.json")
        self.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def close(self) -> None:
        """Close the files; the safe point stays open."""
        for file in (self._data, self._index):
            os.close(file)

    def _unsaved(self, volume: int, offset: int, count: int) -> Iterator[Area]:
        """The parts of an area that are not saved, in whole units, in pieces of bounded length."""
        saved, size = self._saved[volume], self._backings[volume].size_bytes
        first, last = offset // UNIT_BYTES, -(-(offset + count) // UNIT_BYTES)
        while (start := saved.find(0, first, last)) >= 0:
            end = saved.find(1, start, min(last, start + PIECE_BYTES_MAX // UNIT_BYTES))
            first = min(last, start + PIECE_BYTES_MAX // UNIT_BYTES) if end < 0 else end
            saved[start:first] = b"\2" * (first - start)  # asked for twice in one call
            yield volume, start * UNIT_BYTES, min(first * UNIT_BYTES, size) - start * UNIT_BYTES

    def _save(self, volume: int, offset: int, length: int, is_data: bool, position: int) -> _Entry:
        if not is_data:
            return _Entry(volume, ZERO, 0, offset, length, position)
        content = bytearray(length)
        self._backings[volume].pread_into(content, offset)
        view = memoryview(content)
        while view:
            written = os.pwrite(self._data, view, position + length - len(view))
            view = view[written:]
        return _Entry(volume, 0, crc32c(content), offset, length, position)

    def _take(self, entry: _Entry) -> None:
        first, last = entry.offset // UNIT_BYTES, -(-(entry.offset + entry.length) // UNIT_BYTES)
        self._saved[entry.volume][first:last] = b"\1" * (last - first)
        if not entry.flags & ZERO:
            self._data_end = max(self._data_end, entry.position + entry.length)

    def _entries(self) -> Iterator[_Entry]:
        """The index, up to its end or the first entry that a crash cut."""
        at = 0
        while raw := os.pread(self._index, ENTRIES_READ * ENTRY_BYTES, at):
            at += len(raw)
            for start in range(0, len(raw), ENTRY_BYTES):
                entry = raw[start : start + ENTRY_BYTES]
                if len(entry) < ENTRY_BYTES or _CRC.unpack_from(entry, 36)[0] != crc32c(entry[:36]):
                    return
                volume, flags, data_crc, offset, length, position, _ = _ENTRY.unpack_from(entry)
                yield _Entry(volume, flags, data_crc, offset, length, position)

    def _content(self, entry: _Entry) -> bytes:
        if entry.flags & ZERO:
            return b""
        content = os.pread(self._data, entry.length, entry.position)
        if len(content) != entry.length or crc32c(content) != entry.data_crc:
            raise IntegrityError(
                f"safe point {self.directory}: saved content of volume {entry.volume} at {entry.offset} is damaged",
                hint="Nothing was changed. Let the resync end instead: it needs no safe point.",
                path=str(self.directory),
            )
        return content


def _runs(flags: bytearray) -> Iterator[tuple[int, int]]:
    end = 0
    while (start := flags.find(1, end)) >= 0:
        end = flags.find(0, start)
        end = len(flags) if end < 0 else end
        yield start, end - start


def refused(directory: Path, error: OSError) -> CapacityError | StorageError:
    """The error of the disk that holds the safe point, in words."""
    words = (error.strerror or str(error)).lower()
    kind = CapacityError if error.errno in (errno.ENOSPC, errno.EDQUOT) else StorageError
    return kind(
        f"cannot save what a resync overwrites in {directory}: {words}",
        hint="Nothing unsaved was overwritten. Free room there, then order the resync again.",
        path=str(directory),
    )
