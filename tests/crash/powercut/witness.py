"""Witnesses that know nothing of pairvol: an ext4 on the PVOL, and a SQLite database on that, through power cuts."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import time
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from controller.errors import PairvolError
from tests.crash.log_disk.disks import LogDisks, attached, make_ext4, mounted_ext4, unmount_fuse
from tests.crash.log_disk.log import Entry
from tests.crash.log_disk.rebuild import Images
from tests.crash.powercut.check import recovered
from tests.crash.powercut.recording import disturbed, files_in, make_files
from tests.crash.results import Row
from tests.crash.server import SiteFiles, VolumeServer
from tests.support.processes import Processes
from tests.support.waiting import wait_until

VOLUME_BYTES = 24 << 20
JOURNAL_BYTES = 8 << 20


@dataclass
class Testimony:
    """What the database and the file system were told is safe, and when."""

    log: Sequence[Entry] = ()
    bases: Mapping[str, bytes] = field(default_factory=dict)
    commits: list[int] = field(default_factory=list)  # moment at which row 1, 2, ... was committed
    files: list[int] = field(default_factory=list)  # moment at which file 1, 2, ... was synced


def record_witness(processes: Processes, directory: Path, rows: int) -> Testimony:
    """A database in WAL mode with synchronous=FULL, and files with an fsync each, on an ext4 on the PVOL."""
    base = make_files(directory / "base", 1, VOLUME_BYTES, JOURNAL_BYTES)
    make_ext4(base.volumes[0], VOLUME_BYTES)
    disks = LogDisks(
        processes, directory, {"journal": base.journal, "pointers": base.pointers, "vol0": base.volumes[0]}
    )
    testimony = Testimony()
    with disks.files() as paths:
        files = SiteFiles(paths["journal"], paths["pointers"], [paths["vol0"]], VOLUME_BYTES, directory / "dirty")
        server = VolumeServer(processes, directory, files)
        with server, disturbed(files, seed=1):
            server.start()
            with _attached_volume(processes, directory, server) as point:
                _testify(point, testimony, rows)
            server.stop()
    testimony.log, testimony.bases = disks.log(), disks.bases
    return testimony


@contextmanager
def _attached_volume(processes: Processes, directory: Path, server: VolumeServer) -> Iterator[Path]:
    """The PVOL as a host has it: a block device, mounted."""
    device, point = directory / "pvol.d", directory / "pvol.mnt"
    device.mkdir()
    point.mkdir()
    process = processes.start(["nbdfuse", device / "pvol", server.uri()], "nbdfuse-pvol")
    try:
        wait_until((device / "pvol").exists, 10, "the PVOL to be attached")
        with attached(device / "pvol", direct_io=True) as loop, mounted_ext4(loop, point):
            yield point
    finally:
        unmount_fuse(device)
        process.wait(10)


def _testify(point: Path, testimony: Testimony, rows: int) -> None:
    with closing(sqlite3.connect(point / "rows.db", isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute("PRAGMA wal_autocheckpoint=20")
        database.execute("CREATE TABLE line (number INTEGER PRIMARY KEY, content TEXT)")
        for number in range(1, rows + 1):
            database.execute("INSERT INTO line VALUES (?, ?)", (number, content(number)))
            testimony.commits.append(time.monotonic_ns())
            if number % 4 == 0:
                with (point / f"file{number // 4}").open("w") as file:
                    file.write(content(number // 4))
                    file.flush()
                    os.fsync(file.fileno())
                testimony.files.append(time.monotonic_ns())


def content(number: int) -> str:
    return f"line {number} " * (20 + number * 37 % 200)


def check_witness(row: Row, label: str, directory: Path, images: Images, testimony: Testimony, before_ns: int) -> None:
    """Recover the PVOL, mount it, and ask both witnesses what is missing."""
    for name, image in images.items():
        (directory / name).write_bytes(image)
    files = files_in(directory, 1, VOLUME_BYTES)
    point = directory / "mnt"
    point.mkdir(exist_ok=True)
    row.attempted += 1
    try:
        recovered(files)
        with attached(files.volumes[0]) as device, mounted_ext4(device, point):
            committed = bisect_right(testimony.commits, before_ns)
            row.reached += committed > 0
            _ask_database(row, label, point / "rows.db", committed)
            _ask_files(row, label, point, bisect_right(testimony.files, before_ns))
    except (PairvolError, sqlite3.Error, OSError, subprocess.CalledProcessError) as error:
        row.lose(f"{label}: {error}")


def _ask_database(row: Row, label: str, path: Path, committed: int) -> None:
    if not committed:
        return
    with closing(sqlite3.connect(path)) as database:
        verdict = database.execute("PRAGMA integrity_check").fetchone()[0]
        lines = database.execute("SELECT number, content FROM line ORDER BY number").fetchall()
    if verdict != "ok" or lines != [(number, content(number)) for number in range(1, len(lines) + 1)]:
        row.disorder(f"{label}: the database is damaged: {verdict}")
    if len(lines) < committed:
        row.lose(f"{label}: {committed} rows were committed, {len(lines)} are there")


def _ask_files(row: Row, label: str, point: Path, synced: int) -> None:
    for number in range(1, synced + 1):
        path = point / f"file{number}"
        if not path.exists() or path.read_text() != content(number):
            row.lose(f"{label}: file {number} was synced and is not there whole")
