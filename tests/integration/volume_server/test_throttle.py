"""A pair that throttles: writers faster than the other site slow down, none waits long, and journaling goes on."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from controller.journal.layout import BLOCK_BYTES
from controller.journal.pointers import Pointer, PointerPage, Position
from controller.journal.volume import JournalVolume
from controller.volume.throttle import MARK_SHARE
from tests.support.nbdkit import connected
from tests.support.processes import Processes
from tests.support.volume_server import GroupFiles, start_volume_server
from tests.support.waiting import wait_until

MIB = 1 << 20
WRITERS, WRITES = 4, 150
WRITE_BYTES = 4096
STEP = 4  # journals that the other site takes at once


@dataclass
class ThrottledFiles(GroupFiles):
    throttle: bool = True

    @property
    def journal_document(self) -> dict[str, Any]:
        return {**super().journal_document, "throttle": self.throttle}


class SlowReader:
    """Plays the other site: takes a few journals, and only once the journal is fuller than the mark."""

    def __init__(self, files: GroupFiles) -> None:
        self.page = PointerPage.open(str(files.pointers))
        journal = JournalVolume.open(str(files.journal), writable=False)
        self.capacity = journal.data_blocks
        journal.close()
        self.fullest = 0.0
        self.confirmed = Position()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        blocks = WRITE_BYTES // BLOCK_BYTES
        while not self._ended.wait(0.002):
            newest, out = self.page.read(Pointer.DURABLE), self.page.read(Pointer.JOURNAL_OUT)
            fill = (newest.data_position - out.data_position) / self.capacity
            self.fullest = max(self.fullest, fill)
            goal = min(newest.sequence, self.confirmed.sequence + STEP)
            if fill > MARK_SHARE and goal > self.confirmed.sequence:
                self.confirmed = Position(goal, goal * blocks, newest.time_ns)
                self.page.publish(Pointer.CONFIRMED, self.confirmed)

    def end(self) -> None:
        self._ended.set()
        self._thread.join(10)
        self.page.close()


@pytest.fixture
def files(short_path: Path) -> ThrottledFiles:
    files = ThrottledFiles(short_path, {"data": 16 * MIB}, MIB, full_wait_seconds=20.0)
    files.create()
    return files


@pytest.fixture
def reader(files: ThrottledFiles) -> Iterator[SlowReader]:
    reader = SlowReader(files)
    yield reader
    reader.end()


def write_pages(files: GroupFiles, writer: int) -> None:
    with connected(files.uri()) as handle:
        for number in range(WRITES):
            handle.pwrite(os.urandom(WRITE_BYTES), (writer * WRITES + number) * WRITE_BYTES)


def test_writers_faster_than_the_other_site_slow_down_and_go_on(
    files: ThrottledFiles, reader: SlowReader, processes: Processes
) -> None:
    start_volume_server(processes, files)
    with ThreadPoolExecutor(WRITERS) as pool:
        for ended in [pool.submit(write_pages, files, writer) for writer in range(WRITERS)]:
            ended.result(120)
    status = files.command("status")
    assert status["mode"] == "journal", "it was never full"
    assert status["appended"]["sequence"] == WRITERS * WRITES
    assert MARK_SHARE < reader.fullest <= 1.0


def test_a_site_that_takes_nothing_suspends_it_in_bounded_time(files: ThrottledFiles, processes: Processes) -> None:
    files.full_wait_seconds = 0.3
    start_volume_server(processes, files)
    with connected(files.uri()) as handle:

        def suspended() -> bool:
            for page in range(64):
                handle.pwrite(os.urandom(WRITE_BYTES), page * WRITE_BYTES)
                if files.command("status")["mode"] == "suspended":
                    return True
            return False

        wait_until(suspended, 120, "the group to be suspended")
        handle.pwrite(os.urandom(WRITE_BYTES), 0)
