"""A group that gives up its journal, lives on without it, and takes it up again, on log-writes disks.

The dirty map lies on an ext4 of its own, because it is replaced as a file.
"""

from __future__ import annotations

import errno
import os
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import nbd

from controller.journal.pointers import Pointer, PointerPage, Position
from tests.crash.log_disk.disks import LogDisks, make_ext4
from tests.crash.powercut.history import History
from tests.crash.powercut.recording import Recording, disturbed, make_files
from tests.crash.server import PLUGIN, SiteFiles, VolumeServer
from tests.support.nbdkit import connected
from tests.support.processes import Processes
from tests.support.waiting import wait_until

VOLUME_BYTES = 4 << 20  # four regions
EARLY, LATE = range(768), range(768, 1024)  # pages of the first three, and of the last
STATE_DISK, STATE_BYTES = "state", 16 << 20  # a smaller ext4 would have no journal
NEVER = 1 << 62


@dataclass
class Suspension:
    """A recording, and until which operation and moment what went past the journal is the dirty map's to tell."""

    recording: Recording
    resumed: int = NEVER  # operations after this one were journaled again
    cleared_ns: int = NEVER  # from here on the changed regions count as copied
    died_in_a_mark: bool = False


@dataclass
class _Reader:
    """Stands for the other site: confirms what is durable, or nothing new."""

    pointers: PointerPage
    reading: bool = True
    confirmed: Position = field(default_factory=Position)

    def __call__(self) -> Position:
        if self.reading:
            self.confirmed = self.pointers.read(Pointer.DURABLE)
        return self.confirmed


def record_suspension(
    processes: Processes,
    directory: Path,
    seed: int,
    *,
    broken: bool = False,
    script: Path = PLUGIN,
    environment: Mapping[str, str] | None = None,
) -> Suspension:
    """Journal, give up (full, or its disk is `broken`), die, live on, die in a mark, live on, resume, clear, die."""
    base = make_files(directory / "base", 1, VOLUME_BYTES)
    make_ext4(directory / "state.image", STATE_BYTES)
    images = {"journal": base.journal, "pointers": base.pointers, "vol0": base.volumes[0]}
    disks = LogDisks(processes, directory, {**images, STATE_DISK: directory / "state.image"})
    history, chooser = History(1, VOLUME_BYTES // 512), random.Random(seed)
    with (
        disks.file("journal") as journal,
        disks.file("pointers") as pointers,
        disks.file("vol0") as volume,
        disks.mounted(STATE_DISK) as state,
    ):
        files = SiteFiles(journal, pointers, [volume], VOLUME_BYTES, state / "dirty", full_wait_seconds=0.1)
        files.on_error = "suspend" if broken else "fail"
        reader = _Reader(PointerPage.open(str(pointers)))
        with (
            closing(reader.pointers),
            VolumeServer(processes, directory, files, script, environment=environment or {}) as server,
            disturbed(files, seed, reader),
        ):
            suspension = _live(processes, server, history, chooser, reader, disks if broken else None)
    suspension.recording = Recording(disks.log(), disks.bases, history)
    return suspension


def _live(
    processes: Processes,
    server: VolumeServer,
    history: History,
    chooser: random.Random,
    reader: _Reader,
    failing: LogDisks | None,
) -> Suspension:
    suspension = Suspension(Recording((), {}, history))
    server.start()
    write(server, history, chooser, 60, EARLY)
    reader.reading = False
    what = chooser.choice(("flush", "write"))
    with failing.failing("journal", what, errno.EIO) if failing else nullcontext():
        while (status := server.command("status"))["mode"] == "journal":
            write(server, history, chooser, 20, EARLY)
        if failing:
            assert os.strerror(errno.EIO) in status["failure"]["message"], status
        write(server, history, chooser, 60, EARLY)
        server.kill()
        server.start()
        write(server, history, chooser, 40, EARLY)
        suspension.died_in_a_mark = _die_in_a_mark(processes, server, history, chooser)
        server.start()
        write(server, history, chooser, 40, LATE)
    if failing is None:
        reader.reading = True
        document = server.files.document(server.control_socket)["journal"]
        answer = server.command("resume", journal=document)
        assert answer["ok"], answer
        suspension.resumed = len(history.operations)
        write(server, history, chooser, 60)
        suspension.cleared_ns = time.monotonic_ns()
        answer = server.command("clear_epoch", epoch=server.command("status")["epoch"])
        assert answer["ok"], answer
        write(server, history, chooser, 20)
    server.kill()
    return suspension


def _die_in_a_mark(processes: Processes, server: VolumeServer, history: History, chooser: random.Random) -> bool:
    """SIGKILL between a region's bit, which is in the page cache then, and the sync of it; whether there is one."""
    words: list[str | Path] = [
        "-P",
        server.files.dirty_map,
        "-e",
        "trace=fdatasync",
        "-e",
        "inject=fdatasync:signal=KILL",
    ]
    name = f"strace-{server.process.pid}"
    tracer = processes.start(["strace", "-f", *words, "-p", str(server.process.pid)], name)
    wait_until(lambda: "attached" in processes.log(name), 30, "strace to attach")
    try:
        write(server, history, chooser, 1, LATE)
    except nbd.Error:
        history.operations.pop()  # nothing of it was written
        server.process.wait(10)
        return True
    else:
        server.kill()
        return False
    finally:
        processes.stop(tracer)


def write(
    server: VolumeServer, history: History, chooser: random.Random, count: int, pages: Sequence[int] | None = None
) -> None:
    """Writes of whole pages, some flushed."""
    with connected(server.uri()) as handle:
        for _ in range(count):
            operation = history.issue(chooser, uniform=True, fua_chance=0, pages=pages)
            handle.pwrite(operation.data, operation.lba * 512)
            history.acknowledge(operation)
            if chooser.random() < 0.15:
                handle.flush()
                history.promise(operation.number)
