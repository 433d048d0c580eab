"""New journals are written once when they are made: no sync then waits for the file system to note that."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from controller.errors import StorageError
from controller.journal.volume import JournalVolume
from controller.journal.written import PIECE_BYTES, write_whole

SIZE = 4 * PIECE_BYTES
FS_IOC_FIEMAP = 0xC020660B
UNWRITTEN = 0x800
HEAD, EXTENT = struct.Struct("=QQLLLL"), struct.Struct("=QQQQQLLLL")


def unwritten_bytes(path: Path) -> int:
    """Of a file's blocks: how much is allocated and was never written."""
    count = 1000
    request = bytearray(HEAD.size + count * EXTENT.size)
    HEAD.pack_into(request, 0, 0, 1 << 40, 1, 0, count, 0)  # with a sync before
    with path.open("rb") as file:
        try:
            fcntl.ioctl(file, FS_IOC_FIEMAP, request)
        except OSError as error:
            pytest.skip(f"the file system of {path} does not tell what was written: {os.strerror(error.errno or 0)}")
    found = HEAD.unpack_from(request)[3]
    extents = (EXTENT.unpack_from(request, HEAD.size + at * EXTENT.size) for at in range(found))
    return sum(extent[2] for extent in extents if extent[5] & UNWRITTEN)


@contextmanager
def allocated(path: Path) -> Iterator[int]:
    file = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        os.posix_fallocate(file, 0, SIZE)
        yield file
    finally:
        os.close(file)


def test_a_file_is_written_whole_and_holds_zeros(tmp_path: Path) -> None:
    path = tmp_path / "new"
    with allocated(path) as file:
        assert unwritten_bytes(path) == SIZE
        assert write_whole(file, SIZE) == SIZE
    assert unwritten_bytes(path) == 0
    assert path.read_bytes() == bytes(SIZE)


def test_it_takes_no_longer_than_it_may(tmp_path: Path) -> None:
    with allocated(tmp_path / "new") as file:
        assert write_whole(file, SIZE, seconds_max=0.0) == 0


def test_a_file_system_that_cannot_leaves_it_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EINVAL, "no such thing here")

    with allocated(tmp_path / "new") as file:
        monkeypatch.setattr(os, "pwrite", refuse)
        assert write_whole(file, SIZE) == 0


def test_a_new_journal_is_written_and_a_used_one_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr("controller.journal.volume.write_whole", lambda file, size: asked.append(size))
    path = tmp_path / "journal"
    JournalVolume.create(str(path), SIZE, str(uuid4()), 1)
    JournalVolume.create(str(path), 0, str(uuid4()), 1)
    assert asked == [SIZE]


def test_a_disk_that_refuses_is_named_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(os, "pwrite", refuse)
    path = tmp_path / "journal"
    with pytest.raises(StorageError, match="journal"):
        JournalVolume.create(str(path), SIZE, str(uuid4()), 1)
    assert not path.exists()
