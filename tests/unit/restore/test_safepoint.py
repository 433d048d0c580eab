"""The safe point: killed at every step it gives back exactly the state that it was opened at."""

from __future__ import annotations

import errno
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.errors import CapacityError, IntegrityError, NotDurableError, StorageError
from controller.journal.pointers import Position
from controller.restore.safepoint import ENTRY_BYTES, UNIT_BYTES, SafePoint
from controller.volume import regions
from controller.volume.backing import Backing
from tests.support.disks import directory_sync_fails

MIB = 1 << 20
SIZES = {0: 2 * MIB + 512, 3: MIB}
AT = Position(41, 800, 12345)


class Volumes:
    """Two volumes with content, holes, and a short last unit."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        dice = random.Random(7)
        for index, size in SIZES.items():
            with self.path(index).open("wb") as file:
                file.truncate(size)
                file.seek(size // 3)
                file.write(dice.randbytes(size // 3))
        self.backings = {index: Backing.open(str(self.path(index)), size) for index, size in SIZES.items()}
        self.before = self.content()

    def path(self, index: int) -> Path:
        return self.directory / f"volume{index}"

    def content(self) -> dict[int, bytes]:
        return {index: self.path(index).read_bytes() for index in SIZES}

    def begin(self) -> SafePoint:
        return SafePoint.begin(self.directory / "safepoint", self.backings, AT, 40)

    def open(self) -> SafePoint | None:
        return SafePoint.open(self.directory / "safepoint", self.backings)

    def overwrite(self, point: SafePoint, seed: int) -> None:
        """Some writes and punches, each protected first."""
        dice = random.Random(seed)
        areas = []
        for _ in range(dice.randrange(1, 5)):
            index = dice.choice(list(SIZES))
            length = dice.choice((512, 4096, UNIT_BYTES, 300 * 1024))
            areas.append((index, dice.randrange((SIZES[index] - length) // 512 + 1) * 512, length))
        point.protect(areas)
        for index, offset, length in areas:
            if dice.random() < 0.3:
                self.backings[index].punch(offset, length)
            else:
                self.backings[index].pwrite(dice.randbytes(length), offset)


@pytest.fixture
def volumes(tmp_path: Path) -> Volumes:
    return Volumes(tmp_path)


@settings(max_examples=30, deadline=None)
@given(seeds=st.lists(st.integers(0, 1 << 30), max_size=8), reopened=st.sets(st.integers(0, 7)))
def test_roll_back_gives_exactly_the_state_before(
    tmp_path_factory: pytest.TempPathFactory, seeds: list[int], reopened: set[int]
) -> None:
    volumes = Volumes(tmp_path_factory.mktemp("safepoint"))
    point = volumes.begin()
    for number, seed in enumerate(seeds):
        if number in reopened:
            point.close()
            again = volumes.open()
            assert again is not None
            point = again
        before = volumes.content()
        volumes.overwrite(point, seed)
        for index, size in SIZES.items():
            changed = regions.unpack(point.changed()[index], size)
            for region in range(len(changed)):
                part = slice(region * MIB, (region + 1) * MIB)
                assert changed[region] or volumes.content()[index][part] == before[index][part]
    assert (point.position, point.consistent_sequence) == (AT, 40)
    for _ in range(2):
        point.roll_back()
        assert volumes.content() == volumes.before
    point.discard()
    assert not (volumes.directory / "safepoint").exists()


def killed_at(number: int, act: Callable[[], None]) -> bool:
    """Run `act` in a child that is killed before its n-th call that changes a file; whether it lived to the end."""
    child = os.fork()
    if child == 0:
        calls = 0

        def dying(honest: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **named: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                return honest(*arguments, **named)

            return call

        for name in ("pwrite", "write", "fdatasync", "fsync", "rename", "unlink", "mkdir", "rmdir", "ftruncate"):
            setattr(os, name, dying(getattr(os, name)))
        try:
            act()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - the child's main
            os._exit(3)
    _, status = os.waitpid(child, 0)
    assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0, "the child failed"
    return os.WIFEXITED(status)


def test_killed_at_every_step_nothing_is_lost(tmp_path: Path) -> None:
    reached = {"none": 0, "open": 0, "rolling back": 0, "discarded": 0}
    for number in range(1, 200):
        directory = tmp_path / str(number)
        directory.mkdir()
        volumes = Volumes(directory)

        def life(volumes: Volumes = volumes) -> None:
            point = volumes.begin()
            for seed in range(3):
                volumes.overwrite(point, seed)
            point.roll_back()
            point.discard()

        lived = killed_at(number, life)
        point = volumes.open()
        if point is None:
            # Never begun, or rolled back and discarded: either way the volumes are as they were.
            reached["discarded" if lived else "none"] += 1
        else:
            reached["rolling back" if point.rolling_back else "open"] += 1
            point.roll_back()
            point.discard()
        assert volumes.content() == volumes.before, f"killed at call {number}"
        if lived:
            break
    assert all(reached.values()), reached


def test_a_torn_index_ends_before_the_tear(volumes: Volumes) -> None:
    """The entry was not durable, so what it speaks of was not overwritten."""
    point = volumes.begin()
    point.protect([(0, 0, UNIT_BYTES)])
    volumes.backings[0].pwrite(b"\xff" * UNIT_BYTES, 0)
    point.protect([(0, MIB, UNIT_BYTES)])
    point.close()
    index = volumes.directory / "safepoint" / "index"
    os.truncate(index, index.stat().st_size - ENTRY_BYTES // 2)
    again = volumes.open()
    assert again is not None
    volumes.overwrite(again, 3)
    again.protect([(0, MIB, UNIT_BYTES)])
    volumes.backings[0].pwrite(b"\xee" * UNIT_BYTES, MIB)
    again.roll_back()
    assert volumes.content() == volumes.before
    again.close()


@pytest.mark.parametrize(("number", "expected"), [(errno.ENOSPC, CapacityError), (errno.EIO, StorageError)])
@pytest.mark.parametrize("call", ["pwrite", "fdatasync"])
def test_what_cannot_be_saved_is_refused_each_time(
    volumes: Volumes, monkeypatch: pytest.MonkeyPatch, call: str, number: int, expected: type[Exception]
) -> None:
    point = volumes.begin()
    point.protect([(0, 0, 512)])

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as broken:
        broken.setattr(os, call, refuse)
        for _ in range(2):
            with pytest.raises(expected, match="cannot save what a resync overwrites"):
                point.protect([(0, MIB, UNIT_BYTES)])
        point.protect([(0, 0, 512)])  # saved before, and still
    point.protect([(0, MIB, UNIT_BYTES)])
    volumes.backings[0].pwrite(b"\xff" * UNIT_BYTES, MIB)
    point.roll_back()
    assert volumes.content() == volumes.before
    point.close()


def test_a_safe_point_that_cannot_be_opened_when_it_is_begun_is_none_after_a_restart(
    volumes: Volumes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as broken:
        broken.setattr(SafePoint, "__init__", refuse)
        with pytest.raises(StorageError, match=r"cannot save what a resync overwrites in .*safepoint: input/output"):
            volumes.begin()
    assert SafePoint.open(volumes.directory / "safepoint", volumes.backings) is None


def test_an_open_safe_point_that_cannot_be_synced_is_refused_by_name(
    volumes: Volumes, monkeypatch: pytest.MonkeyPatch
) -> None:
    volumes.begin().close()

    def refuse(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", refuse)
    with pytest.raises(StorageError, match=r"cannot save what a resync overwrites in .*safepoint: input/output error"):
        SafePoint.open(volumes.directory / "safepoint", volumes.backings)


def test_damaged_content_is_found_before_anything_is_changed(volumes: Volumes) -> None:
    point = volumes.begin()
    for offset in (0, MIB):
        point.protect([(0, offset, UNIT_BYTES)])
        volumes.backings[0].pwrite(b"\xff" * UNIT_BYTES, offset)
    data = volumes.directory / "safepoint" / "data"
    with data.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x5a")
    now = volumes.content()
    with pytest.raises(IntegrityError, match="saved content of volume 0 at 1048576 is damaged"):
        point.roll_back()
    assert volumes.content() == now
    point.close()


def test_data_then_index_each_synced_before_anything_is_overwritten(
    volumes: Volumes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power cut could tear apart: the order of writes and syncs is the protection."""
    point = volumes.begin()
    files = {point._data: "data", point._index: "index"}
    calls: list[str] = []

    def noted(name: str, honest: Callable[..., Any]) -> Callable[..., Any]:
        def call(file: int, *rest: Any) -> Any:
            calls.append(f"{name} {files[file]}")
            return honest(file, *rest)

        return call

    with monkeypatch.context() as watched:
        for name, word in (("pwrite", "write"), ("fdatasync", "sync")):
            watched.setattr(os, name, noted(word, getattr(os, name)))
        point.protect([(0, MIB, 3 * UNIT_BYTES), (3, MIB // 2, 512)])
        assert calls == ["write data"] * calls.count("write data") + ["sync data", "write index", "sync index"]
        assert "write data" in calls
        calls.clear()
        point.protect([(0, MIB, 512)])
        assert calls == [], "saved once is saved"
    point.close()


def test_a_safe_point_that_may_not_last_is_none(volumes: Volumes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore would go on without saving anything, and a restart would believe in it."""
    with directory_sync_fails(monkeypatch, times=1, after=2), pytest.raises(NotDurableError):
        volumes.begin()
    assert volumes.open() is None


def test_a_safe_point_is_gone_only_when_that_is_durable(volumes: Volumes, monkeypatch: pytest.MonkeyPatch) -> None:
    point = volumes.begin()
    with directory_sync_fails(monkeypatch):
        for _ in range(2):
            with pytest.raises(NotDurableError):
                point.discard()
        with pytest.raises(NotDurableError):
            volumes.open()
    point.discard()
    assert volumes.open() is None
