"""SIGKILL while a group is suspended because its journal is full: the switch, and the tracked writes after it."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbd
import numpy as np
import pytest

from controller.journal.layout import Records
from controller.journal.pointers import Position
from controller.journal.recovery import scan
from controller.journal.volume import JournalVolume
from controller.volume.dirty import DirtyMap, exists
from tests.crash.results import Row
from tests.crash.write_path.history import History, numbers_in
from tests.crash.write_path.lane import Point
from tests.support.nbdkit import connected
from tests.support.processes import Processes
from tests.support.stamps import SECTOR
from tests.support.volume_server import PLUGIN, GroupFiles, start_volume_server
from tests.support.waiting import wait_until

VOLUME_BYTES = 12 << 20
STEPS_MAX = 90  # of 32 KiB on average: the journal takes about 30 of them
LANES = 3
MUTANT_PLUGIN = Path(__file__).with_name("mutant_plugin.py")


def journaled_numbers(files: GroupFiles) -> set[int]:
    """The writes that are in the journal; nothing was confirmed, so from the first on."""
    found: set[int] = set()
    journal = JournalVolume.open(str(files.journal), writable=False)

    def collect(records: Records) -> None:
        for record in records[records["data_blocks"] > 0]:
            first = bytearray(SECTOR.itemsize)
            journal.read_into(int(record["data_position"]), first)
            found.add(int(np.frombuffer(first, SECTOR)["number"][0]))

    scan(journal, Position(), collect)
    journal.close()
    return found


def untracked(files: GroupFiles) -> str | None:
    """A sector in the store whose write is neither in the journal nor in a region marked as changed."""
    numbers = numbers_in(files.volume("data").read_bytes())
    direct = ~np.isin(numbers, [0, *journaled_numbers(files)])
    if exists(str(files.dirty_map)):
        marks = DirtyMap.open(str(files.dirty_map), files.uuid)
        for offset, count in marks.regions(0):
            direct[offset // 512 : (offset + count) // 512] = False
        marks.close()
    return f"LBA {np.flatnonzero(direct)[0]} was written untracked" if direct.any() else None


def kill_at(point: Point, directory: Path, row: Row, mutant: str = "") -> None:
    files = GroupFiles(directory, {"data": VOLUME_BYTES}, 1 << 20, full_wait_seconds=0.05).create()
    history = History([VOLUME_BYTES])
    chooser = random.Random(f"{row.seed} {point}")
    with Processes(directory / "logs") as processes:
        plugin, environment = (MUTANT_PLUGIN, {"PAIRVOL_MUTANT": mutant}) if mutant else (PLUGIN, {})
        server = start_volume_server(processes, files, plugin=plugin, environment=environment)
        words: list[str | Path] = ["strace", "-o", directory / "strace", "-p", str(server.pid), *point.injection]
        processes.start(words, "strace")
        wait_until(lambda: "attached" in processes.log("strace"), 30, "strace to attach", interval=0.005)
        try:
            with connected(files.uri()) as handle:
                for _ in range(STEPS_MAX):
                    sectors = 8 * chooser.randint(1, 16)
                    step = history.send(0, chooser.randrange(VOLUME_BYTES // 4096 - 16) * 8, sectors, zeros=False)
                    handle.pwrite(step.data, step.lba * 512)
                    history.acknowledged()
        except nbd.Error:
            server.wait(30)
        if server.poll() is None:
            processes.stop(server)
        else:
            row.reached += 1
            wrong = untracked(files)
            if wrong is not None:
                row.lose(f"{point}: {wrong}")
        start_volume_server(processes, files, "after")
        check_acknowledged(point, files, history, row)


def check_acknowledged(point: Point, files: GroupFiles, history: History, row: Row) -> None:
    """All that was acknowledged is there; of the write that was caught, each sector may be old or new."""
    expected = numbers_in(bytes(history.models[0]))
    with connected(files.uri()) as handle:
        found = numbers_in(handle.pread(VOLUME_BYTES, 0))
    right = found == expected
    if history.caught is not None:
        area = slice(history.caught.lba, history.caught.lba + history.caught.sectors)
        right[area] |= found[area] == history.caught.number
    if not right.all():
        row.lose(f"{point}: LBA {np.flatnonzero(~right)[0]} is not what was acknowledged")


@pytest.mark.crash
@pytest.mark.slow
def test_whatever_call_it_dies_in(short_path: Path) -> None:
    row = Row("kill while suspending", seed=4)
    points = [
        *(Point("fsync", when) for when in (1, 2)),  # the dirty map and its folder
        Point("rename", 1),
        *(Point("fdatasync", when) for when in (2, 3, 4, 6, 9, 12)),  # the last checkpoint, then the bits
        *(Point("pwrite64", when) for when in (30, 34, 38, 42, 46, 50, 60, 70)),
        *(Point("sendto", when) for when in (36, 48, 80)),
    ]
    row.attempted = len(points)
    with ThreadPoolExecutor(LANES) as pool:
        list(pool.map(lambda at: kill_at(points[at], short_path / f"p{at}", row), range(len(points))))
    control = Row("kill while suspending, data before mark", seed=4)
    for when in (40, 44, 48):
        kill_at(Point("sendto", when), short_path / f"control{when}", control, "data before mark")
    row.control("data before mark", control.lost > 0)
    print(row)
    assert row.holds, str(row)
    assert row.reached >= 15, str(row)
