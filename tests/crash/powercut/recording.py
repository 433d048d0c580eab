"""A recording: the real volume server on log-writes disks, and what it promised while they were written.

The disks are plain files that nbdfuse serves, so the page cache lies between
server and disk as it does for any file. Beside the server a disturber writes
back dirty pages at random moments without syncing them, as the kernel's own
flusher may, and moves CONFIRMED as the controller does, so that journal space
is used again and again.
"""

from __future__ import annotations

import ctypes
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import nbd

from controller.journal.pointers import Pointer, PointerPage, Position
from controller.journal.volume import JournalVolume
from tests.crash.log_disk.disks import LogDisks
from tests.crash.log_disk.log import Entry
from tests.crash.powercut.history import Action, History
from tests.crash.server import GROUP_UUID, PLUGIN, SiteFiles, VolumeServer
from tests.support.background import repeated
from tests.support.nbdkit import connected
from tests.support.processes import Processes

JOURNAL_BYTES = 1 << 20
VOLUME_SECTORS = 1024
VOLUME_BYTES = VOLUME_SECTORS * 512
SYNC_FILE_RANGE_WRITE = 2

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Recording:
    """What was written to the disks, and the history that it must keep."""

    log: Sequence[Entry]
    bases: Mapping[str, bytes]
    history: History
    restarts: Sequence[tuple[int, int]] = ()  # from a kill to serving again, in monotonic ns


def make_files(
    directory: Path, volumes: int, volume_bytes: int = VOLUME_BYTES, journal_bytes: int = JOURNAL_BYTES
) -> SiteFiles:
    """A new group's files, empty."""
    directory.mkdir(parents=True, exist_ok=True)
    files = files_in(directory, volumes, volume_bytes)
    JournalVolume.create(str(files.journal), journal_bytes, GROUP_UUID, 1)
    PointerPage.create(str(files.pointers)).close()
    for path in files.volumes:
        path.write_bytes(bytes(volume_bytes))
    return files


def files_in(directory: Path, volumes: int, volume_bytes: int = VOLUME_BYTES) -> SiteFiles:
    """Where a group's files lie in a directory."""
    paths = [directory / f"vol{index}" for index in range(volumes)]
    return SiteFiles(directory / "journal", directory / "pointers", paths, volume_bytes, directory / "dirty")


def record(
    processes: Processes,
    directory: Path,
    seed: int,
    operations: int,
    *,
    script: Path = PLUGIN,
    environment: Mapping[str, str] | None = None,
    kills: int = 1,
) -> Recording:
    """A random workload over two volumes whose files are disks of their own."""
    base = make_files(directory / "base", volumes=2)
    images = {"journal": base.journal, "pointers": base.pointers, "vol0": base.volumes[0], "vol1": base.volumes[1]}
    disks = LogDisks(processes, directory, images)
    with disks.files() as paths:
        volumes = [paths["vol0"], paths["vol1"]]
        files = SiteFiles(paths["journal"], paths["pointers"], volumes, VOLUME_BYTES, directory / "dirty")
        with VolumeServer(processes, directory, files, script, environment=environment or {}) as server:
            history, restarts = lives(server, seed, operations, kills)
    return Recording(disks.log(), disks.bases, history, restarts)


def lives(server: VolumeServer, seed: int, operations: int, kills: int) -> tuple[History, list[tuple[int, int]]]:
    """Run a server through a workload, kill it `kills` times on the way, and end it in order."""
    history = History(len(server.files.volumes), VOLUME_SECTORS)
    chooser = random.Random(seed)
    restarts = []
    with disturbed(server.files, seed):
        server.start()
        for _ in range(kills):
            workload(server, history, chooser, operations // (kills + 1))
            killed_ns = time.monotonic_ns()
            server.kill()
            server.start()
            restarts.append((killed_ns, time.monotonic_ns()))
        workload(server, history, chooser, operations // (kills + 1))
        server.stop()
    return history, restarts


def workload(server: VolumeServer, history: History, chooser: random.Random, count: int) -> None:
    """Operations one after the other, in spells with many flushes, some and none, and a checkpoint now and then."""
    flush_chance, uniform = 0.0, True
    with ExitStack() as stack:
        handles = [stack.enter_context(connected(server.uri(index))) for index in range(history.volumes)]
        for number in range(count):
            if number % 40 == 0:
                flush_chance = chooser.choice((0.0, 0.1, 0.1, 0.5))
                uniform = chooser.random() < 0.5
            operation = history.issue(chooser, uniform, flush_chance / 2)
            handle = handles[operation.volume]
            flags = nbd.CMD_FLAG_FUA if operation.fua else 0
            offset, length = operation.lba * 512, operation.sectors * 512
            if operation.action is Action.WRITE:
                handle.pwrite(operation.data, offset, flags)
            elif operation.action is Action.ZERO:
                handle.zero(length, offset, flags | nbd.CMD_FLAG_NO_HOLE)
            else:
                handle.trim(length, offset, flags)
            history.acknowledge(operation)
            if chooser.random() < flush_chance:
                chooser.choice(handles).flush()  # of any connection: it speaks of all
                history.promise(operation.number)
            if chooser.random() < 0.02:
                server.command("checkpoint")  # destages what was written a moment ago
                history.promise(operation.number)
    mode = server.command("status")["mode"]
    assert mode == "journal", f"the server is no longer journaling: {mode}"


@contextmanager
def disturbed(files: SiteFiles, seed: int, confirmed: Callable[[], Position] | None = None) -> Iterator[None]:
    """Write-back without sync at random moments, and CONFIRMED moved to what `confirmed` says, else to DURABLE."""
    chooser = random.Random(seed)
    pointers = PointerPage.open(str(files.pointers))
    paths = (files.journal, files.journal, files.pointers, *files.volumes)
    descriptors = [os.open(path, os.O_RDWR) for path in paths]

    def disturb() -> None:
        if chooser.random() < 0.5:
            pointers.publish(Pointer.CONFIRMED, confirmed() if confirmed else pointers.read(Pointer.DURABLE))
        write_back(chooser.choice(descriptors))

    try:
        with repeated(disturb, lambda: chooser.uniform(0.0002, 0.002)):
            yield
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
        pointers.close()


def write_back(descriptor: int) -> None:
    """Start writing the dirty pages of a file, as the kernel may at any time; no flush of the disk."""
    _libc.sync_file_range(descriptor, ctypes.c_longlong(0), ctypes.c_longlong(0), SYNC_FILE_RANGE_WRITE)
