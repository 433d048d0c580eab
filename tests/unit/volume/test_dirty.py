"""The dirty map: what it remembers, that it is durable first, and what damage does."""

from __future__ import annotations

import errno
import os
import threading
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import durable
from controller.errors import IntegrityError, NotDurableError, NotFoundError, StorageError
from controller.journal.pointers import Position
from controller.volume import dirty
from controller.volume.dirty import DirtyMap
from controller.volume.regions import REGION_BYTES
from tests.support.disks import directory_sync_fails

GROUP = str(uuid.uuid4())
MIB = 1 << 20


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "dirty")


def test_marks_survive_and_are_merged(path: str) -> None:
    marks = DirtyMap.create(path, GROUP, Position(7, 80, 9), {0: 20 * MIB, 3: 10 * MIB + 512})
    marks.mark(0, 3 * MIB + 5, 10)
    marks.mark(0, 4 * MIB - 1, 2)
    marks.mark(0, 9 * MIB, 8 * MIB)
    marks.mark(3, 10 * MIB, 512)
    marks.close()
    again = DirtyMap.open(path, GROUP)
    assert again.position == Position(7, 80, 9)
    assert list(again.regions(0)) == [(3 * MIB, 2 * MIB), (9 * MIB, 8 * MIB)]
    assert list(again.regions(3)) == [(10 * MIB, 512)]
    assert again.dirty_bytes() == 10 * MIB + 512
    again.remove()
    assert not dirty.exists(path)


@given(spans=st.lists(st.tuples(st.integers(0, 40 * MIB - 1), st.integers(1, 9 * MIB)), max_size=12))
def test_every_marked_byte_is_in_a_region(
    tmp_path_factory: pytest.TempPathFactory, spans: list[tuple[int, int]]
) -> None:
    path = str(tmp_path_factory.mktemp("dirty") / "dirty")
    marks = DirtyMap.create(path, GROUP, Position(), {1: 40 * MIB})
    model = set[int]()
    for offset, count in spans:
        count = min(count, 40 * MIB - offset)
        marks.mark(1, offset, count)
        model |= set(range(offset // REGION_BYTES, (offset + count - 1) // REGION_BYTES + 1))
    for source in (marks, DirtyMap.open(path, GROUP)):
        found = {at // REGION_BYTES for start, count in source.regions(1) for at in range(start, start + count, MIB)}
        assert found == model
        source.close()


def test_a_region_already_marked_costs_no_sync(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    marks = DirtyMap.create(path, GROUP, Position(), {0: 8 * MIB})
    calls: list[int] = []
    sync = os.fdatasync

    def counted(file: int) -> None:
        calls.append(file)
        sync(file)

    monkeypatch.setattr(os, "fdatasync", counted)
    marks.mark(0, 0, 4096)
    marks.mark(0, 8192, 4096)
    assert len(calls) == 1
    marks.close()


def test_a_sync_that_failed_is_never_taken_for_a_success(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    marks = DirtyMap.create(path, GROUP, Position(), {0: 8 * MIB})
    marks.mark(0, 0, 4096)

    def fail(file: int) -> None:
        raise OSError(errno.EIO, "gone")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", fail)
        with pytest.raises(StorageError):
            marks.mark(0, MIB, 4096)
    with pytest.raises(StorageError):
        marks.mark(0, MIB, 4096)
    marks.mark(0, 0, 4096)  # durable before, and still
    marks.close()


def test_a_map_is_written_and_synced_again_before_it_is_believed(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose sync failed, or who was killed before it, left a bit in the page cache that the disk may not have."""
    marks = DirtyMap.create(path, GROUP, Position(), {0: 8 * MIB})
    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", refuse)
        with pytest.raises(StorageError):
            marks.mark(0, MIB, 4096)
    marks.close()
    written, durably = set[int](), set[int]()
    write, sync = os.pwrite, os.fdatasync

    def noted_write(file: int, content: bytes, offset: int) -> int:
        written.update(range(offset, offset + len(content)))
        return write(file, content, offset)

    def noted_sync(file: int) -> None:
        sync(file)
        durably.update(written)

    with monkeypatch.context() as noting:
        noting.setattr(os, "pwrite", noted_write)
        noting.setattr(os, "fdatasync", noted_sync)
        again = DirtyMap.take_up(path, GROUP)
        assert durably == set(range(os.path.getsize(path)))
        again.mark(0, MIB, 4096)
    assert list(again.regions(0)) == [(MIB, MIB)]
    again.close()


def refuse(*_: object) -> None:
    raise OSError(errno.EIO, "Input/output error")


def test_a_map_that_cannot_be_made_durable_is_not_taken_up(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    DirtyMap.create(path, GROUP, Position(), {0: 8 * MIB}).close()
    with directory_sync_fails(monkeypatch), pytest.raises(StorageError, match="input/output error"):
        DirtyMap.take_up(path, GROUP)
    monkeypatch.setattr(os, "fdatasync", refuse)
    with pytest.raises(StorageError, match="cannot write dirty map"):
        DirtyMap.take_up(path, GROUP)


def test_a_mark_that_waits_for_a_change_is_in_the_changed_map(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    marks = DirtyMap.create(path, GROUP, Position(), {0: 8 * MIB})
    marker = threading.Thread(target=marks.mark, args=(0, 5 * MIB, 4096), name="marker")
    lock, replaced = NotedLock("marker"), durable.replace

    def slow(target: str, content: bytes) -> int:
        marker.start()
        assert lock.asked.wait(10), "the marker never waited for the change"
        return replaced(target, content)

    with monkeypatch.context() as slowed:
        slowed.setattr(marks, "_lock", lock)
        slowed.setattr(durable, "replace", slow)
        marks.change(replace(marks.head, note="first"))
        marker.join()
    assert list(marks.regions(0)) == [(5 * MIB, MIB)]
    marks.change(replace(marks.head, note="second"))
    marks.close()
    again = DirtyMap.open(path, GROUP)
    assert list(again.regions(0)) == [(5 * MIB, MIB)]
    again.close()


class NotedLock:
    """A lock that tells when a thread of that name asks for it."""

    def __init__(self, name: str) -> None:
        self.asked = threading.Event()
        self._name = name
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        if threading.current_thread().name == self._name:
            self.asked.set()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def test_a_changed_map_whose_name_may_not_last_takes_no_mark(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    marks = DirtyMap.create(path, GROUP, Position(), {0: 8 * MIB})
    marks.mark(0, 0, 4096)
    with directory_sync_fails(monkeypatch), pytest.raises(NotDurableError):
        marks.change(replace(marks.head, note="full"))
    with pytest.raises(StorageError):
        marks.mark(0, MIB, 4096)
    marks.mark(0, 0, 4096)  # in either file
    marks.change(replace(marks.head, note="full"))
    marks.mark(0, MIB, 4096)
    marks.close()
    again = DirtyMap.open(path, GROUP)
    assert list(again.regions(0)) == [(0, 2 * MIB)]
    again.close()


def test_a_change_needs_no_descriptor_once_it_has_the_name(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    marks = DirtyMap.create(path, GROUP, Position(), {0: 8 * MIB})
    opened = os.open

    def out_of_descriptors(target: str, flags: int, mode: int = 0o777) -> int:
        if target == path:
            raise OSError(errno.EMFILE, "Too many open files")
        return opened(target, flags, mode)

    with monkeypatch.context() as poor:
        poor.setattr(os, "open", out_of_descriptors)
        marks.change(replace(marks.head, note="full"))
    marks.mark(0, MIB, 4096)
    marks.close()
    again = DirtyMap.open(path, GROUP)
    assert list(again.regions(0)) == [(MIB, MIB)]
    again.close()


def test_a_map_that_could_not_be_removed_is_in_force_and_removed_again(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks = DirtyMap.create(path, GROUP, Position(), {0: 8 * MIB})
    with monkeypatch.context() as broken:
        broken.setattr(os, "unlink", refuse)
        with pytest.raises(StorageError):
            marks.remove()
    marks.mark(0, 0, 4096)
    with directory_sync_fails(monkeypatch, times=1), pytest.raises(NotDurableError):
        marks.remove()
    marks.mark(0, MIB, 4096)
    again = DirtyMap.open(path, GROUP)
    assert list(again.regions(0)) == [(0, 2 * MIB)]
    again.close()
    with directory_sync_fails(monkeypatch), pytest.raises(NotDurableError):
        marks.remove()
    with pytest.raises(StorageError):
        marks.mark(0, 2 * MIB, 4096)
    marks.remove()
    assert not dirty.exists(path)


def test_a_new_map_whose_name_may_not_last_is_none(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with directory_sync_fails(monkeypatch, times=1), pytest.raises(NotDurableError):
        DirtyMap.create(path, GROUP, Position(), {0: MIB})
    assert not dirty.exists(path)


def test_missing_foreign_and_damaged_maps_are_named(path: str) -> None:
    with pytest.raises(NotFoundError):
        DirtyMap.open(path, GROUP)
    DirtyMap.create(path, GROUP, Position(), {0: MIB}).close()
    with pytest.raises(IntegrityError, match="not the dirty map of group"):
        DirtyMap.open(path, str(uuid.uuid4()))
    with open(path, "r+b") as file:
        file.seek(40)
        file.write(b"\xff")
    with pytest.raises(IntegrityError, match="checksum"):
        DirtyMap.open(path, GROUP)
