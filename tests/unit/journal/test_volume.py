"""Journal volumes refuse what is not theirs, and keep what they were given."""

from __future__ import annotations

import errno
import mmap
import os
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controller.errors import CapacityError, ConflictError, IntegrityError, NotFoundError, StorageError
from controller.journal.layout import RECORD_DTYPE, Header, compose
from controller.journal.pointers import PAGE_BYTES, Pointer, PointerPage, Position, parse_page
from controller.journal.recovery import wipe_beyond
from controller.journal.volume import JournalVolume

GROUP = str(uuid.uuid4())


@pytest.fixture
def path(tmp_path: Path) -> str:
    path = str(tmp_path / "journal")
    JournalVolume.create(path, 4 << 20, GROUP, 1)
    return path


def test_create_allocates_all(path: str) -> None:
    assert os.stat(path).st_blocks * 512 >= 4 << 20


def test_create_too_small_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(CapacityError):
        JournalVolume.create(str(tmp_path / "small"), 4096, GROUP, 1)
    assert not (tmp_path / "small").exists()


def test_a_place_that_takes_no_journal_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="nowhere/journal: no such file"):
        JournalVolume.create(str(tmp_path / "nowhere" / "journal"), 4 << 20, GROUP, 1)


def test_second_writer_is_refused(path: str) -> None:
    first = JournalVolume.open(path, writable=True)
    with pytest.raises(ConflictError):
        JournalVolume.open(path, writable=True)
    JournalVolume.open(path, writable=False).close()
    first.close()
    JournalVolume.open(path, writable=True).close()


def test_a_view_that_is_still_out_holds_no_lock(path: str) -> None:
    first = JournalVolume.open(path, writable=True)
    (view,) = first.data_views(0, 8)
    first.close()
    JournalVolume.open(path, writable=True).close()
    assert bytes(view[:8]) == bytes(8)


def test_foreign_group_truncated_and_missing_are_named(path: str, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="belongs to group"):
        JournalVolume.open(path, writable=False, group_uuid=str(uuid.uuid4()))
    os.truncate(path, 1 << 20)
    with pytest.raises(IntegrityError, match="truncated"):
        JournalVolume.open(path, writable=False)
    with pytest.raises(NotFoundError):
        JournalVolume.open(str(tmp_path / "nothing"), writable=False)
    (tmp_path / "text").write_bytes(b"x" * 8192)
    with pytest.raises(IntegrityError, match="not a journal volume"):
        JournalVolume.open(str(tmp_path / "text"), writable=False)


def test_one_damaged_header_slot_is_survived_two_are_not(path: str) -> None:
    with open(path, "r+b") as file:
        file.write(b"\xff" * 512)
    journal = JournalVolume.open(path, writable=True)
    journal.set_generation(4)
    journal.close()
    assert JournalVolume.open(path, writable=False).header.generation == 4
    with open(path, "r+b") as file:
        file.write(b"\xff" * 512)
        file.seek(8 * 512)
        file.write(b"\xff" * 512)
    with pytest.raises(IntegrityError):
        JournalVolume.open(path, writable=False)


def test_generation_only_rises_and_a_torn_header_keeps_the_old_one(path: str) -> None:
    journal = JournalVolume.open(path, writable=True)
    journal.set_generation(2)
    with pytest.raises(ConflictError):
        journal.set_generation(1)
    journal.set_generation(3)
    journal.close()
    newest = max((Header.unpack(os.pread(fd, 512, lba * 512), path).serial, lba) for fd in [os.open(path, os.O_RDONLY)]
                 for lba in (0, 8))[1]  # fmt: skip
    with open(path, "r+b") as file:
        file.seek(newest * 512 + 12)
        file.write(b"\x77")
    assert JournalVolume.open(path, writable=False).header.generation == 2


def test_old_version_is_named(path: str) -> None:
    block = bytearray(compose(4 << 20, GROUP, 1, 0).pack())
    block[8] = 9
    import crc32c

    block[508:] = crc32c.crc32c(bytes(block[:508])).to_bytes(4, "little")
    with pytest.raises(IntegrityError, match="format version 9"):
        Header.unpack(bytes(block), path)


def test_data_wraps(path: str) -> None:
    journal = JournalVolume.open(path, writable=True)
    data = os.urandom(16 * 512)
    position = 3 * journal.data_blocks - 5
    journal.write_data(position, data)
    assert [len(view) for view in journal.data_views(position, 16)] == [5 * 512, 11 * 512]
    assert b"".join(journal.data_views(position, 16)) == data
    back = bytearray(len(data))
    journal.read_into(position, back)
    assert back == data
    journal.close()


def test_pointer_page_survives_any_one_damaged_line(tmp_path: Path) -> None:
    path = str(tmp_path / "pointers")
    page = PointerPage.create(path)
    assert page.read(Pointer.CONFIRMED) == Position()
    page.publish(Pointer.DURABLE, Position(1, 8, 100))
    page.publish(Pointer.DURABLE, Position(2, 16, 200))
    assert page.read(Pointer.DURABLE) == Position(2, 16, 200)
    page.close()
    raw = Path(path).read_bytes()
    for start in (128, 192):
        for offset in range(0, 64, 8):
            torn = bytearray(raw)
            torn[start + offset] ^= 0x40
            assert parse_page(bytes(torn))[Pointer.DURABLE].sequence in (1, 2)
    both = bytearray(raw)
    both[130] ^= 1
    both[194] ^= 1
    with pytest.raises(IntegrityError):
        parse_page(bytes(both))
    reopened = PointerPage.open(path)
    reopened.publish(Pointer.DURABLE, Position(3, 24, 300))
    assert reopened.read_all()[Pointer.DURABLE].sequence == 3
    assert len(raw) == PAGE_BYTES
    reopened.close()


def test_records_wrap(path: str) -> None:
    journal = JournalVolume.open(path, writable=True)
    first = 5 * journal.slot_count - 3
    batch = np.zeros(8, dtype=RECORD_DTYPE)
    batch["sequence"] = np.arange(first, first + 8)
    journal.write_records(first, batch)
    assert journal.records(first, first + 7).tobytes() == batch.tobytes()
    assert journal.all_records()[0]["sequence"] == 5 * journal.slot_count
    journal.write_record(first + 3, b"\x11" * 64)
    assert journal.records(first + 3, first + 3).tobytes() == b"\x11" * 64
    journal.close()


def test_a_block_that_cannot_be_read_is_an_error_and_no_signal(path: str) -> None:
    journal = JournalVolume.open(path, writable=False)
    journal.fetch(0, journal.data_blocks)
    os.truncate(path, journal.header.data_head_lba * 512 + (1 << 20))  # as good as a disk that refuses
    journal.fetch(0, 2048)
    with pytest.raises(StorageError, match="cannot read journal volume"):
        journal.fetch(0, 4096)
    os.truncate(path, 4096)
    with pytest.raises(StorageError, match="cannot read journal volume"):
        journal.records(1, 9)
    journal.close()


def test_records_that_the_disk_refuses_are_an_error_and_no_signal(path: str) -> None:
    """A store into the map, of a page that cannot be read or has no room, would be the end of the process."""
    journal = JournalVolume.open(path, writable=True)
    batch = np.zeros(8, dtype=RECORD_DTYPE)
    batch["sequence"] = np.arange(journal.slot_count - 4, journal.slot_count + 4)
    journal.write_records(journal.slot_count - 4, batch)
    assert wipe_beyond(journal, journal.slot_count - 3)
    assert np.count_nonzero(journal.all_records()["sequence"]) == 2
    assert not wipe_beyond(journal, journal.slot_count - 3)
    with open(path, "rb") as readonly:
        os.dup2(readonly.fileno(), journal.file, inheritable=False)
    with pytest.raises(OSError, match="Bad file descriptor"):
        journal.write_records(1, batch)
    with pytest.raises(OSError, match="Bad file descriptor"):
        wipe_beyond(journal, 0)
    os.truncate(path, 4096)
    with pytest.raises(StorageError, match="cannot read journal volume"):
        wipe_beyond(journal, 0)
    journal.close()


class NotedMap(mmap.mmap):
    """A map that counts the stores into it."""

    stores = 0

    def __setitem__(self, place: Any, content: Any) -> None:
        self.stores += 1
        super().__setitem__(place, content)


def test_a_pointer_page_is_written_anew_after_a_sync_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page is clean after it: a sync that is only tried again would write nothing, and succeed."""

    def refuse(_file: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(mmap, "mmap", NotedMap)
    path = str(tmp_path / "pointers")
    page = PointerPage.create(path)
    page.publish(Pointer.ALREADY_RESTORED, Position(2, 16, 200))
    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", refuse)
        with pytest.raises(StorageError, match=f"{path}: input/output error"):
            page.persist()
    assert isinstance(page._map, NotedMap)
    stores, before = page._map.stores, page._map[:]
    page.persist()
    assert page._map.stores > stores
    assert page._map[:] == before
    page.close()
