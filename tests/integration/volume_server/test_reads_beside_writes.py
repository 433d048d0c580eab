"""Readers beside writers, clears and destage: none ever sees what is older than it may.

What a page reads as is in its history, from what was acknowledged before the
read began, or was seen by the same reader, to what was issued before it ended.
"""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbd

from tests.support.nbdkit import connected
from tests.support.processes import Processes
from tests.support.volume_server import GroupFiles, start_volume_server

MIB = 1 << 20
PAGE_BYTES = 4096
REGION_PAGES = 512  # a writer's own; a clear of it is a range in the overlay
REGIONS, READERS = 2, 2
CHANGES = 1500
CLEAR_EVERY = 40
PLUGIN = Path(__file__).with_name("hasty_plugin.py")


class Region:
    """The pages of one writer. A page holds the number of the change that wrote it, 0 when it was cleared."""

    def __init__(self, number: int) -> None:
        self.start = number * REGION_PAGES * PAGE_BYTES
        self.histories = [[0] for _ in range(REGION_PAGES)]
        self.acknowledged = [0] * REGION_PAGES  # place in the history

    def change(self, handle: nbd.NBD, chance: random.Random) -> None:
        for number in range(1, CHANGES + 1):
            if number % CLEAR_EVERY == 0:
                pages = range(REGION_PAGES)
                self._issue(pages, 0)
                handle.trim(REGION_PAGES * PAGE_BYTES, self.start)
            else:
                page = chance.randrange(REGION_PAGES // 8)  # few, so that they are changed again and again
                pages = range(page, page + chance.choice((1, 1, 4)))
                self._issue(pages, number)
                data = number.to_bytes(8, "little") * (PAGE_BYTES // 8) * len(pages)
                handle.pwrite(data, self.start + page * PAGE_BYTES)
            for page in pages:
                self.acknowledged[page] = len(self.histories[page]) - 1

    def _issue(self, pages: range, number: int) -> None:
        for page in pages:
            self.histories[page].append(number)


class Reader:
    def __init__(self, regions: list[Region]) -> None:
        self.reads = 0
        self._regions = regions
        self._seen = [[0] * REGION_PAGES for _ in regions]

    def read(self, handle: nbd.NBD, chance: random.Random, ended: threading.Event) -> None:
        while not ended.is_set():
            number = chance.randrange(REGIONS)
            page, count = chance.randrange(REGION_PAGES // 8), chance.choice((1, 1, 1, 16))
            region, seen = self._regions[number], self._seen[number]
            pages = range(page, page + count)
            floors = [max(region.acknowledged[each], seen[each]) for each in pages]
            data = bytes(handle.pread(count * PAGE_BYTES, region.start + page * PAGE_BYTES))
            for at, (each, floor) in enumerate(zip(pages, floors, strict=True)):
                value = int.from_bytes(data[at * PAGE_BYTES : at * PAGE_BYTES + 8], "little")
                possible = region.histories[each][floor:]
                assert value in possible, f"page {each} read as {value}, none of {possible[:20]}"
                seen[each] = floor + possible.index(value)
            self.reads += 1


def test_no_reader_sees_what_is_older_than_what_was_acknowledged(short_path: Path, processes: Processes) -> None:
    files = GroupFiles(short_path, {"data": 2 * REGIONS * REGION_PAGES * PAGE_BYTES}, 4 * MIB).create()
    server = start_volume_server(processes, files, plugin=PLUGIN)
    regions = [Region(number) for number in range(REGIONS)]
    readers = [Reader(regions) for _ in range(READERS)]
    ended, written = threading.Event(), threading.Event()

    def confirm() -> None:
        while not written.wait(0.002):
            files.confirm_all()

    def change(number: int) -> None:
        with connected(files.uri()) as handle:
            regions[number].change(handle, random.Random(number))

    def read(number: int) -> None:
        with connected(files.uri()) as handle:
            readers[number].read(handle, random.Random(100 + number), ended)

    with ThreadPoolExecutor(1 + REGIONS + READERS) as pool:
        confirming = pool.submit(confirm)
        reading = [pool.submit(read, number) for number in range(READERS)]
        changing = [pool.submit(change, number) for number in range(REGIONS)]
        try:
            for each in changing:
                each.result(120)
        finally:
            ended.set()
            written.set()
        for each in (*reading, confirming):
            each.result(60)
    assert files.command("status")["journal_out"]["sequence"] > CHANGES, "space of the journal was used again"
    assert all(reader.reads > 100 for reader in readers)
    assert processes.stop(server) == 0, processes.log("server")
