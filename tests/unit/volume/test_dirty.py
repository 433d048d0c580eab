"""The dirty map: what it remembers, that it is durable first, and what damage does."""

from __future__ import annotations

import errno
import os
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import IntegrityError, NotFoundError, StorageError
from controller.journal.pointers import Position
from controller.volume import dirty
from controller.volume.dirty import REGION_BYTES, DirtyMap

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
