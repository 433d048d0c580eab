"""Disks that fail under the volume server: what the client is told, what the status says, what a cut then leaves.

A fault is never turned into success: once a sync failed, no flush succeeds
until the server starts anew, although the disk is well again; and whatever
was promised before, between and after is there when power is cut at the end.
"""

from __future__ import annotations

import ctypes
import errno
import os
import random
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbd

from controller.journal.pointers import Pointer, PointerPage
from tests.crash.log_disk.disks import LogDisks
from tests.crash.log_disk.rebuild import Cut, cuts, states
from tests.crash.powercut.check import Workbench, check_state
from tests.crash.powercut.history import History, Operation
from tests.crash.powercut.recording import VOLUME_BYTES, VOLUME_SECTORS, make_files
from tests.crash.results import Row
from tests.crash.server import PLUGIN, SiteFiles, VolumeServer
from tests.support.nbdkit import connected
from tests.support.processes import Processes

STEPS_MAX = 40
POINTS = 30


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the matrix: which disk fails at what, and how."""

    disk: str
    what: str
    number: int
    journaled: bool = True
    on_error: str = "fail"

    def __str__(self) -> str:
        how = "" if self.journaled else ", no journal"
        how += "" if self.on_error == "fail" else f", policy {self.on_error}"
        return f"{errno.errorcode[self.number]} at {self.what} of {self.disk}{how}"


CASES = [
    Case(disk, what, number)
    for disk in ("journal", "pointers", "vol0")
    for what in ("write", "flush")
    for number in (errno.EIO, errno.ENOSPC)
]
DIRECT_CASES = [
    Case("vol0", what, number, journaled=False) for what in ("write", "flush") for number in (errno.EIO, errno.ENOSPC)
]
SUSPEND_CASES = [
    Case(disk, what, number, on_error="suspend")
    for disk in ("journal", "pointers")
    for what in ("write", "flush")
    for number in (errno.EIO, errno.ENOSPC)
]


@dataclass
class Told:
    """What the outside was told while the disk failed and after."""

    client_errors: list[int] = field(default_factory=list)
    flushes_after: list[bool] = field(default_factory=list)  # of those after the first error: success or not
    status: dict[str, Any] = field(default_factory=dict)


def run_case(
    row: Row,
    processes: Processes,
    directory: Path,
    case: Case,
    script: Path = PLUGIN,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Work, let the disk fail, work on, mend the disk, restart, work on, cut."""
    base = make_files(directory / "base", 1)
    images = {"journal": base.journal, "pointers": base.pointers, "vol0": base.volumes[0]}
    disks = LogDisks(processes, directory, images)
    history = History(1, VOLUME_SECTORS)
    with disks.files() as paths:
        files = SiteFiles(paths["journal"], paths["pointers"], [paths["vol0"]], VOLUME_BYTES, directory / "dirty")
        files.journaled = case.journaled
        server = VolumeServer(processes, directory, files, script, environment=environment or {}, name=directory.name)
        with server:
            told = _live(row, server, history, disks, case)
    row.attempted += 1
    row.reached += bool(told.client_errors)
    _judge_words(row, case, told)
    if case.journaled:
        _judge_cuts(row, case, disks, history, directory)


def run_suspend_case(row: Row, processes: Processes, directory: Path, case: Case) -> None:
    """Work, let a disk of the journal fail, work on without it, die, work on, resume, work on: nobody is ever told."""
    base = make_files(directory / "base", 1)
    images = {"journal": base.journal, "pointers": base.pointers, "vol0": base.volumes[0]}
    disks = LogDisks(processes, directory, images)
    history, chooser = History(1, VOLUME_SECTORS), random.Random(row.seed)
    row.attempted += 1
    with disks.files() as paths:
        files = SiteFiles(paths["journal"], paths["pointers"], [paths["vol0"]], VOLUME_BYTES, directory / "dirty")
        files.on_error = case.on_error
        with VolumeServer(processes, directory, files, name=directory.name) as server:
            server.start()
            work(server, history, chooser, 20)
            try:
                with disks.failing(case.disk, case.what, case.number):
                    row.reached += _suspended(row, case, server, history, chooser, str(paths[case.disk]))
                    work(server, history, chooser, 10)
                    _written_back_untold(server)
                server.kill()
                server.start()
                work(server, history, chooser, 10)
                _resume(row, case, server)
                work(server, history, chooser, 10)
            except nbd.Error as error:
                row.lose(f"{case}: a client was told {error}")
                return
            server.stop()
        if paths["vol0"].read_bytes() != history.images(len(history.operations))[0]:
            row.lose(f"{case}: the volume is not what was written to it")


def _suspended(row: Row, case: Case, server: VolumeServer, history: History, chooser: random.Random, path: str) -> bool:
    """Work until the group lives without its journal; whether it does, and says why."""
    for _ in range(STEPS_MAX):
        work(server, history, chooser, 2)
        server.command("checkpoint")
        status = server.command("status")
        if status["mode"] == "suspended":
            words = status["failure"]["message"]
            if os.strerror(case.number).lower() not in words.lower() or (case.disk == "pointers" and path not in words):
                row.lose(f"{case}: status does not name it: {words}")
            return True
    row.lose(f"{case}: never suspended: {status}")
    return False


def _written_back_untold(server: VolumeServer) -> None:
    """The page of pointers is written back by the kernel itself; if the disk refuses, nobody has heard of it yet."""
    with closing(PointerPage.open(str(server.files.pointers))) as page:
        page.publish(Pointer.CONFIRMED, page.read(Pointer.CONFIRMED))
    directory = os.open(server.files.pointers.parent, os.O_RDONLY)
    try:
        ctypes.CDLL(None).syncfs(directory)  # for the file system, not for the file: the file's error stays to be told
    finally:
        os.close(directory)


def _resume(row: Row, case: Case, server: VolumeServer) -> None:
    with closing(PointerPage.open(str(server.files.pointers))) as page:
        page.publish(Pointer.CONFIRMED, page.read(Pointer.DURABLE))
    answer = server.command("resume", journal=server.files.document(server.control_socket)["journal"])
    if not answer["ok"]:
        row.lose(f"{case}: not resumed on a disk that is well again: {answer}")


def _live(row: Row, server: VolumeServer, history: History, disks: LogDisks, case: Case) -> Told:
    chooser, told = random.Random(row.seed), Told()
    server.start()
    work(server, history, chooser, 20)
    with disks.failing(case.disk, case.what, case.number):
        provoke(server, history, chooser, told)
    told.status = server.command("status")
    flush_again(server, history, told)
    server.kill()
    server.start()
    work(server, history, chooser, 10)
    return told


def _judge_cuts(row: Row, case: Case, disks: LogDisks, history: History, directory: Path) -> None:
    bench = Workbench(directory / "bench", 1)
    bench.directory.mkdir()
    found = Row("cuts", row.seed)
    log = disks.log()
    end = Cut(len(log) - 1, log[-1].time_ns + 1, "prefix")
    for cut, state in states(log, disks.bases, [*cuts(log, POINTS, row.seed), end]):
        check_state(found, f"{case}, cut {cut}", bench.lay_out(state), history, cut.before_ns)
    row.lost += found.lost
    row.order_violations += found.order_violations
    row.examples += found.examples[:2]


def _judge_words(row: Row, case: Case, told: Told) -> None:
    failure = told.status.get("failure")
    if not told.client_errors:
        row.lose(f"{case}: the client was never told")
    if not case.journaled and case.what == "write":
        return  # a write that failed is the client's to repeat; the next may work
    if any(told.flushes_after):
        row.lose(f"{case}: a flush succeeded after the failure")
    if not failure or os.strerror(case.number).lower() not in failure["message"].lower():
        row.lose(f"{case}: status does not name it: {failure}")
    elif case.disk == "pointers" and "pointer page" not in failure["message"]:
        row.lose(f"{case}: status does not name the file: {failure}")


def work(server: VolumeServer, history: History, chooser: random.Random, count: int) -> None:
    """Writes that must succeed, flushed at the end."""
    with connected(server.uri()) as handle:
        for _ in range(count):
            operation = history.issue(chooser, uniform=True, fua_chance=0)
            handle.pwrite(operation.data, operation.lba * 512)
            history.acknowledge(operation)
        handle.flush()
        history.promise(len(history.operations))


def provoke(server: VolumeServer, history: History, chooser: random.Random, told: Told) -> None:
    """Write, flush and checkpoint until the client meets the fault, and a little on."""
    with connected(server.uri()) as handle:
        for step in range(STEPS_MAX):
            _write(server, handle, history, chooser, told)
            _flush(handle, history, told)
            if step % 3 == 2 and not told.client_errors:
                server.command("checkpoint")
            if len(told.client_errors) > 6:
                return


def flush_again(server: VolumeServer, history: History, told: Told) -> None:
    """The disk is well again; the server must not behave as if it had been all the time."""
    with connected(server.uri()) as handle:
        for _ in range(3):
            _flush(handle, history, told)


def _write(server: VolumeServer, handle: nbd.NBD, history: History, chooser: random.Random, told: Told) -> None:
    operation = history.issue(chooser, uniform=True, fua_chance=0.3)
    try:
        handle.pwrite(operation.data, operation.lba * 512, nbd.CMD_FLAG_FUA if operation.fua else 0)
        history.acknowledge(operation)
    except nbd.Error as error:
        told.client_errors.append(error.errnum)
        _forget(server, history, operation)


def _forget(server: VolumeServer, history: History, operation: Operation) -> None:
    """A write that failed before it had a sequence is no part of the history: the next one takes its number."""
    if not server.files.journaled or server.command("status")["appended"]["sequence"] < operation.number:
        history.operations.pop()


def _flush(handle: nbd.NBD, history: History, told: Told) -> None:
    failed_before = bool(told.client_errors)
    promised = len(history.operations)
    try:
        handle.flush()
        history.promise(promised)
    except nbd.Error as error:
        told.client_errors.append(error.errnum)
    else:
        if failed_before:
            told.flushes_after.append(True)
