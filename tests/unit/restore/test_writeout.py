"""Writing out beside writing: only what was passed, each byte once, and no error taken from the sync."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from controller.restore import writeout as module
from controller.restore.writeout import STRETCH_BYTES_MAX, STRETCH_BYTES_MIN, Writeout
from controller.volume.backing import Backing
from tests.support.filesystem import run
from tests.support.waiting import wait_until
from tests.unit.copy.parts import svol

MIB = 1 << 20


class Noting(Backing):
    """Notes what is submitted; `busy` holds the other thread at it."""

    def note(self) -> None:
        self.submitted: list[tuple[int, int]] = []
        self.busy = threading.Event()
        self.busy.set()

    def begin_sync(self, offset: int, count: int) -> None:
        self.submitted.append((offset, count))
        assert self.busy.wait(20)


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Noting]:
    svol(tmp_path / "svol", MIB).close()
    backing = Noting.open(str(tmp_path / "svol"), MIB)
    assert isinstance(backing, Noting)
    backing.note()
    yield backing
    backing.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else the machine does, the disk counts as a quick one."""
    monkeypatch.setattr(module, "QUICK_SECONDS", math.inf)


def idle(writeout: Writeout) -> bool:
    return writeout._task is None or writeout._task.done()


@pytest.mark.usefixtures("quick")
def test_stretches_follow_each_other_and_grow_by_what_was_written_not_by_how_far_it_lies(target: Noting) -> None:
    with Writeout(target, 4096) as writeout:
        target.busy.clear()
        ends = [1 << 40, 2 << 40, *range((2 << 40) + MIB, (2 << 40) + 40 * MIB, MIB)]
        writeout.passed(ends[0], 4096)
        for end in ends[1:]:  # noted, while the disk is at the first
            writeout.passed(end, STRETCH_BYTES_MIN)
        target.busy.set()
        for _ in range(8):
            wait_until(partial(idle, writeout))
            writeout.passed(ends[-1], 0)
    assert len(target.submitted) == 9
    begins = [offset for offset, _ in target.submitted]
    assert begins == [4096, *[offset + count for offset, count in target.submitted[:-1]]]
    assert target.submitted[0] == (4096, (1 << 40) - 4096)
    assert sum(target.submitted[-1]) == ends[-1]


@pytest.mark.usefixtures("quick")
def test_a_quick_disk_gets_more_at_a_time_and_a_slow_one_less(target: Noting, monkeypatch: pytest.MonkeyPatch) -> None:
    writeout = Writeout(target, 0)
    for stretch in (2, 4, 8, 16, 32, 32):
        writeout._submit(0, 1)
        assert writeout._stretch == stretch * STRETCH_BYTES_MIN
    monkeypatch.setattr(module, "QUICK_SECONDS", 0.0)
    writeout._submit(0, 1)
    assert writeout._stretch == STRETCH_BYTES_MIN
    assert STRETCH_BYTES_MAX == 32 * STRETCH_BYTES_MIN


def test_a_slow_disk_holds_nobody_up_before_the_end(target: Noting) -> None:
    target.busy.clear()
    with Writeout(target, 0) as writeout:
        for end in range(MIB, 20 * MIB, MIB):
            writeout.passed(end, MIB)
        wait_until(lambda: bool(target.submitted))
        target.busy.set()
    assert target.submitted == [(0, MIB)]


def write_until_full(target: Backing) -> None:
    with Writeout(target, 0) as writeout:
        writeout.passed(MIB, MIB)
        raise OSError(28, "full")


def test_the_thread_is_gone_at_the_end_also_after_an_error(target: Noting) -> None:
    with pytest.raises(OSError, match="full"):
        write_until_full(target)
    assert target.submitted == [(0, MIB)]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("writeout")]


def test_a_mistake_in_the_other_thread_is_seen(target: Noting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "begin_sync", lambda offset: None)
    with pytest.raises(TypeError), Writeout(target, 0) as writeout:
        writeout.passed(MIB, MIB)


def test_without_a_thread_the_sync_is_left_to_do_it(target: Noting, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with Writeout(target, 0) as writeout:
        writeout.passed(MIB, MIB)
        writeout.passed(2 * MIB, MIB)
    assert target.submitted == []


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[str]:
    """A block device of 16 MiB whose disk has room for 1 MiB."""
    if os.geteuid() != 0:
        pytest.skip("not root: a disk without room is mounted")
    disk = tmp_path / "disk"
    disk.mkdir()
    with ExitStack() as undo:
        run("mount", "-t", "tmpfs", "-o", "size=1m", "none", disk)
        undo.callback(run, "umount", "--lazy", disk)
        with (disk / "image").open("wb") as file:
            file.truncate(16 * MIB)
        device = run("losetup", "-f", "--show", disk / "image").decode().strip()
        undo.callback(run, "losetup", "-d", device)
        yield device


def refused(device: str) -> bool:
    """Whether writes went to the device, and none is under way any more."""
    fields = (Path("/sys/block") / Path(device).name / "stat").read_text().split()
    return int(fields[4]) > 0 and fields[8] == "0"


def test_what_the_disk_refused_meanwhile_is_told_to_the_sync(full_disk: str) -> None:
    backing = Backing.open(full_disk, 16 * MIB)
    try:
        backing.pwrite(b"x" * (8 * MIB), 0)
        backing.begin_sync(0, 8 * MIB)
        wait_until(lambda: refused(full_disk))
        with pytest.raises(OSError, match="Input/output error"):
            backing.sync()
    finally:
        backing.close()
