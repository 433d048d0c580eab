"""A primary's journal written by hand, what its PVOLs then hold, and links that need no server."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import crc32c
import numpy as np

from controller.api.models import Composition, CopyMode, CopyOrder, CopySource, InitialCopyOrder, Links, RestoreMode
from controller.copy.in_flight import Range
from controller.copy.link import DataLink, Extent
from controller.copy.remote import RemoteJournal
from controller.errors import PeerError
from controller.inband.digests import UNIT_BYTES, digests_of
from controller.journal.layout import BLOCK_BYTES, Flag, Kind, group_tag, pack_record
from controller.journal.markers import MarkerKind, pack_marker
from controller.journal.pointers import Pointer, PointerPage, Position
from controller.journal.volume import JournalVolume
from controller.volume.backing import Backing

GROUP = "5b0e6f0e-6c0e-4ff2-9a32-0d6f3a1f3d55"
TIME_NS = 1_700_000_000_000_000_000


def marker_data(number: int, blocks: int = 1) -> bytes:
    """The data of a marker, of so many blocks."""
    return pack_marker(MarkerKind.NAMED, name=f"n{number}".ljust(blocks * BLOCK_BYTES - 99, "x")).ljust(
        blocks * BLOCK_BYTES, b"\0"
    )


class Primary:
    """The volume server's part, done by the test: data, record, sync, pointer.

    `volumes` are what the PVOLs hold after the newest write. The caller keeps
    within the ring: nothing is purged unless it says so.
    """

    def __init__(self, directory: Path, journal_bytes: int, volume_bytes: dict[int, int], generation: int = 1) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.generation = generation
        self.tag = group_tag(GROUP)
        JournalVolume.create(str(directory / "journal"), journal_bytes, GROUP, generation)
        self.journal = JournalVolume.open(str(directory / "journal"), writable=True)
        self.pointers = PointerPage.create(str(directory / "pointers"))
        self.volumes = {index: bytearray(size) for index, size in volume_bytes.items()}
        self.end = Position()

    def write(self, volume: int, lba: int, data: bytes) -> int:
        """A host write of whole blocks; its sequence."""
        self.volumes[volume][lba * BLOCK_BYTES : lba * BLOCK_BYTES + len(data)] = data
        return self._append(volume, lba, len(data) // BLOCK_BYTES, data)

    def clear(self, volume: int, lba: int, blocks: int, flags: Flag) -> int:
        """A zero or a trim."""
        self.volumes[volume][lba * BLOCK_BYTES : (lba + blocks) * BLOCK_BYTES] = bytes(blocks * BLOCK_BYTES)
        return self._append(volume, lba, blocks, b"", flags=flags)

    def marker(self, payload: bytes) -> int:
        return self._append(0, 0, 0, payload, kind=Kind.MARKER)

    def note(self, what: MarkerKind, **facts: Any) -> int:
        """A marker of pairvol's own."""
        payload = pack_marker(what, **facts)
        return self.marker(payload.ljust(-(-len(payload) // BLOCK_BYTES) * BLOCK_BYTES, b"\0"))

    def base(self, volume: int, offset: int, length: int) -> int:
        """A base record of what is there."""
        data = bytes(self.volumes[volume][offset : offset + length])
        return self._append(volume, offset // BLOCK_BYTES, length // BLOCK_BYTES, data, kind=Kind.BASE)

    def digest(self, run: str, volume: int, offset: int, length: int, zeros: bool = False) -> int:
        """A digest of what is there."""
        held = memoryview(bytes(self.volumes[volume][offset : offset + length]))
        digests = "" if zeros else digests_of(held)
        place = {"volume": volume, "offset": offset, "length": length, "unit": UNIT_BYTES}
        return self.note(MarkerKind.DIGEST, run=run, digests=digests, bytes_done=offset + length, **place)

    def _append(
        self, volume: int, lba: int, blocks: int, data: bytes, kind: Kind = Kind.UPDATE, flags: Flag = Flag.NONE
    ) -> int:
        sequence, position = self.end.sequence + 1, self.end.data_position
        if data:
            self.journal.write_data(position, data)
        record = pack_record(
            sequence=sequence,
            time_ns=TIME_NS + sequence,
            volume_lba=lba,
            data_position=position,
            block_count=blocks,
            data_blocks=len(data) // BLOCK_BYTES,
            volume=volume,
            kind=kind,
            flags=flags,
            generation=self.generation,
            data_crc=crc32c.crc32c(data),
            tag=self.tag,
        )
        self.journal.write_record(sequence, record)
        self.end = Position(sequence, position + len(data) // BLOCK_BYTES, TIME_NS + sequence)
        return sequence

    def commit(self) -> Position:
        """Everything written becomes durable, and known as such."""
        self.journal.sync()
        self.pointers.publish(Pointer.DURABLE, self.end)
        return self.end

    def spoil_record(self, number: int, valid: bool = True, **fields: int) -> None:
        """Change fields of a stored record; its checksum is made right again when `valid`."""
        record = self.journal.records(number, number)
        for name, value in fields.items():
            record[name] = value
        if valid:
            record["record_crc"] = crc32c.crc32c(record.tobytes()[:60])
        self.journal.write_record(number, record.tobytes())

    def spoil_data(self, sequence: int) -> None:
        """Flip one bit of a record's data."""
        record = self.journal.records(sequence, sequence)[0]
        view = self.journal.data_views(int(record["data_position"]), int(record["data_blocks"]))[-1]
        view[-1] ^= 0x40

    def source(self, prefix: str = "", volume_uris: dict[str, str] | None = None) -> CopySource:
        """How a secondary finds this journal; `prefix` goes before `/journal` and `/pointers`."""
        prefix = prefix or str(self.directory)
        header = self.journal.header
        return CopySource(
            site="tokyo",
            uuid=GROUP,
            generation=self.generation,
            composition=Composition(
                journal_uuid=header.journal_uuid,
                metadata_head_lba=header.metadata_head_lba,
                metadata_block_count=header.metadata_block_count,
                data_head_lba=header.data_head_lba,
                data_block_count=header.data_block_count,
            ),
            links=Links(
                journal_uri=f"{prefix}/journal", pointers_uri=f"{prefix}/pointers", volume_uris=volume_uris or {}
            ),
        )

    def close(self) -> None:
        self.pointers.close()
        self.journal.close()


class FileLink(DataLink):
    """A data link that reads a file of this machine: the same ranges, no server.

    `broken` makes it a dead one; `calls` is told of every call (kind, name of the file).
    """

    broken = False
    calls: ClassVar[list[tuple[str, str]]] = []

    @property
    def connected(self) -> bool:
        return self._handle is not None

    def _open(self, kind: str) -> int:
        self.calls.append((kind, Path(self.uri).name))
        if self.broken:
            self.close()
            raise PeerError("the link is down")
        if self._handle is None:
            self._handle = os.open(self.uri, os.O_RDONLY | os.O_CLOEXEC)
            self.connections += 1
        return int(self._handle)

    @property
    def size_bytes(self) -> int:
        return os.fstat(self._open("size")).st_size

    def read_ranges(self, ranges: Iterable[Range]) -> None:
        file = self._open("read")
        for offset, length, view in ranges:
            assert os.preadv(file, [view], offset) == length == len(view)

    def flush(self, deadline_seconds: float = 10.0) -> None:
        self._open("flush")

    def extents(self, offset: int, count: int) -> list[Extent]:
        self._open("extents")
        backing = Backing.open(self.uri, offset + count, readonly=True)
        try:
            return [Extent(start, length, not data) for start, length, data in backing.extents(offset, count)]
        finally:
            backing.close()

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def file_remote(source: CopySource) -> RemoteJournal:
    """The primary's journal read from its file."""
    return RemoteJournal(source, link_type=FileLink)


def follow(source: CopySource, lease_seconds: float = 60.0, restore: RestoreMode = RestoreMode.AT_ONCE) -> CopyOrder:
    return CopyOrder(source=source, mode=CopyMode.FOLLOW, lease_seconds=lease_seconds, restore=restore)


def once(source: CopySource, to_sequence: int | None = None, restore: RestoreMode = RestoreMode.AT_ONCE) -> CopyOrder:
    return CopyOrder(source=source, mode=CopyMode.ONCE, to_sequence=to_sequence, lease_seconds=20.0, restore=restore)


def initial(source: CopySource) -> InitialCopyOrder:
    return InitialCopyOrder(source=source)


def empty_secondary(directory: Path, journal_bytes: int, generation: int = 1) -> None:
    """The files of a new secondary group: journal and pointers."""
    directory.mkdir(parents=True, exist_ok=True)
    JournalVolume.create(str(directory / "journal"), journal_bytes, GROUP, generation)
    PointerPage.create(str(directory / "pointers")).close()


def svol(path: Path, size_bytes: int) -> Backing:
    """A new sparse SVOL, open."""
    with path.open("wb") as file:
        file.truncate(size_bytes)
    return Backing.open(str(path), size_bytes)


def open_svols(directory: Path) -> dict[int, Backing]:
    """The files `svolN` of a directory, open, by N."""
    paths = sorted(directory.glob("svol*"))
    return {int(path.name.removeprefix("svol")): Backing.open(str(path), path.stat().st_size) for path in paths}


def content(backing: Backing) -> bytes:
    return Path(backing.path).read_bytes()


def block(number: int, blocks: int = 1) -> bytes:
    """Data of whole blocks that no other number gives."""
    return np.full(blocks * BLOCK_BYTES // 8, number, dtype="<u8").tobytes()
