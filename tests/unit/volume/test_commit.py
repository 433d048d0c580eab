"""Group commit: one sync for many, never an acknowledgement too early, a failure that stays."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from controller.errors import PairvolError, StorageError
from controller.journal.pointers import Position
from controller.volume.commit import BackgroundSync, GroupCommit
from tests.support.waiting import wait_until


class Disk:
    """A journal whose syncs are let through one by one when `gated`."""

    def __init__(self, gated: bool = False) -> None:
        self.appended = 0
        self.synced = 0
        self.syncs = 0
        self.begun = threading.Semaphore(0)
        self.gate = threading.Semaphore(0 if gated else 1_000_000)
        self.failure: OSError | None = None
        self.published: list[int] = []
        self.told: list[PairvolError] = []
        self.commit = GroupCommit(Position(), self.newest, self.sync, self.publish, self.told.append)

    def newest(self) -> Position:
        return Position(self.appended)

    def sync(self) -> None:
        self.syncs += 1
        covered = self.appended
        self.begun.release()
        self.gate.acquire()
        if self.failure is not None:
            raise self.failure
        self.synced = covered

    def publish(self, position: Position) -> None:
        assert position.sequence <= self.synced, "published before it was durable"
        self.published.append(position.sequence)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as pool:
        yield pool


def test_what_is_durable_is_not_synced_again() -> None:
    disk = Disk()
    disk.appended = 3
    disk.commit.wait(3)
    disk.commit.wait(2)
    assert (disk.syncs, disk.published) == (1, [3])


def test_one_sync_serves_all_who_came_during_the_one_before(pool: ThreadPoolExecutor) -> None:
    disk = Disk(gated=True)
    disk.appended = 1
    leader = pool.submit(disk.commit.wait, 1)
    assert disk.begun.acquire(timeout=10)
    disk.appended = 20
    followers = [pool.submit(disk.commit.wait, sequence) for sequence in range(2, 21)]
    disk.gate.release()
    leader.result(10)
    assert disk.begun.acquire(timeout=10), "the second sync, led by one of the followers"
    assert not any(follower.done() for follower in followers), "the first sync began before they appended"
    disk.gate.release()
    for follower in followers:
        follower.result(10)
    assert (disk.syncs, disk.published) == (2, [1, 20])


def test_a_failed_sync_fails_all_who_wait_and_all_who_come(pool: ThreadPoolExecutor) -> None:
    disk = Disk(gated=True)
    disk.appended = 2
    disk.failure = OSError(errno.EIO, "gone")
    waiting = [pool.submit(disk.commit.wait, 1), pool.submit(disk.commit.wait, 2)]
    assert disk.begun.acquire(timeout=10)
    disk.gate.release(1_000)
    for waiter in waiting:
        with pytest.raises(StorageError):
            waiter.result(10)
    disk.failure = None
    for sequence in (0, 1, 2):
        with pytest.raises(StorageError):
            disk.commit.wait(sequence)
    assert disk.syncs == 1, "never tried again"
    assert disk.commit.durable == Position()
    assert [str(error) for error in disk.told] == ["sync of the journal failed: gone"]


def test_background_sync_makes_writes_durable_and_then_sleeps() -> None:
    disk = Disk()
    lock = threading.Lock()
    background = BackgroundSync(disk.commit, lock, lambda: disk.appended)
    background.start()
    for round_number in (1, 2):
        with lock:
            disk.appended += 5
            if not background.awake:
                background.wake()
        wait_until(lambda: not background.awake, 10, "everything to be durable")
        assert disk.commit.durable.sequence == 5 * round_number
    background.stop()
    assert disk.syncs == 2


def test_background_sync_ends_at_a_failure() -> None:
    disk = Disk()
    disk.failure = OSError(errno.EIO, "gone")
    background = BackgroundSync(disk.commit, threading.Lock(), lambda: disk.appended)
    background.start()
    disk.appended = 1
    background.wake()
    wait_until(lambda: disk.commit.failure, 10, "the failure")
    background.stop()
    assert disk.syncs == 1
