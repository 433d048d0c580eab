"""Sharing the SVOLs: the lock is fair, and a failed sync concerns everybody who wrote."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from controller.errors import StorageError
from controller.journal.pointers import Pointer, PointerPage, Position
from controller.journal.volume import JournalVolume
from controller.restore.space import JournalSpace
from controller.restore.targets import FairLock, Targets
from tests.support.waiting import wait_until
from tests.unit.copy.parts import GROUP, svol


def test_lock_excludes_and_goes_round(tmp_path: Path) -> None:
    lock = FairLock()
    order: list[str] = []
    turns = 200
    inside = 0

    def work(name: str) -> None:
        nonlocal inside
        for _ in range(turns):
            with lock:
                inside += 1
                assert inside == 1
                order.append(name)
                inside -= 1

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    with lock:  # both are waiting before the first turn is given
        for thread in threads:
            thread.start()
        wait_until(lambda: lock.waiting == 2)
    for thread in threads:
        thread.join(20)
    assert len(order) == 2 * turns
    # One that gives the lock back and asks again at once comes after the other, who waited.
    assert order[0] != order[1]


def test_lock_is_given_back_after_an_error() -> None:
    lock = FairLock()
    with pytest.raises(ValueError, match="inside"), lock:
        raise ValueError("inside")
    with lock:
        pass


def test_failed_sync_fails_all_who_wrote_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    targets = Targets({0: svol(tmp_path / "svol", 4096)})
    restore, initial = targets.epoch, targets.epoch

    def refuse() -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(targets.backings[0], "sync", refuse)
        with pytest.raises(StorageError):
            targets.sync(initial, [0])
    with pytest.raises(StorageError):
        targets.sync(restore, [0])
    targets.sync(targets.epoch, [0])
    targets.backings[0].close()


def test_room_counts_from_the_durable_pointer(tmp_path: Path) -> None:
    JournalVolume.create(str(tmp_path / "journal"), 1 << 20, GROUP, 1)
    journal = JournalVolume.open(str(tmp_path / "journal"), writable=True)
    pointers = PointerPage.create(str(tmp_path / "pointers"))
    pointers.publish(Pointer.ALREADY_RESTORED, Position(10, 100))
    space = JournalSpace(journal, pointers)
    read = Position(12, 120)
    assert space.room(read) == (journal.slot_count - 2, journal.data_blocks - 20)
    pointers.publish(Pointer.ALREADY_RESTORED, Position(12, 120))
    assert space.room(read) == (journal.slot_count - 2, journal.data_blocks - 20)
    assert space.reclaimable
    assert space.reclaim()
    assert space.room(read) == (journal.slot_count, journal.data_blocks)
    assert not space.reclaimable
    assert not space.reclaim()
    pointers.close()
    journal.close()
