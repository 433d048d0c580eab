"""The dirty map of a suspended group meets an error, by strace: what is not marked durably is never written.

A mark is refused at its write or its sync, a change at its temporary or at
the sync of the directory. The client, or who gave the order, is told; the
next start has all that was acknowledged, and goes on when the disk is well.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import nbd

from tests.crash.disk_errors.refusal import REPLACED, Fault, Refusal, faults, refused
from tests.crash.powercut.recording import make_files
from tests.crash.results import Row
from tests.crash.server import VolumeServer
from tests.support.nbdkit import connected
from tests.support.processes import Processes

VOLUME_BYTES, REGION_BYTES = 4 << 20, 1 << 20


MARKS = faults([("pwrite64", "map"), ("fdatasync", "map")])
CHANGES = faults(REPLACED)


def run_mark(row: Row, processes: Processes, directory: Path, fault: Fault) -> None:
    """A mark is refused; the write that it is for is told, and is not there."""
    row.attempted += 1
    data = random.Random(row.seed).randbytes(4096)
    with _server(processes, directory) as server:
        _order(row, fault, server)
        with connected(server.uri()) as handle:
            handle.pwrite(data, 0, nbd.CMD_FLAG_FUA)
            with _refused(processes, server, fault):
                try:
                    handle.pwrite(data, 2 * REGION_BYTES)
                    row.lose(f"mark, {fault}: the write was acknowledged")
                except nbd.Error:
                    row.reached += 1
        _judge_failure(row, f"mark, {fault}", server, fault)
        server.kill()
        server.start()
        _judge_content(row, f"mark, {fault}", server, data)
        server.stop()


def run_change(row: Row, processes: Processes, directory: Path, fault: Fault) -> None:
    """The suspension is refused; nobody writes past the journal without it, and nobody waits without end."""
    row.attempted += 1
    data = random.Random(row.seed).randbytes(4096)
    with _server(processes, directory) as server:
        with connected(server.uri()) as handle:
            handle.pwrite(data, 0, nbd.CMD_FLAG_FUA)
            with _refused(processes, server, fault):
                answer = server.command("suspend", cause="operator")
            row.reached += not answer["ok"]
            if answer["ok"] or str(server.files.dirty_map) not in answer["message"]:
                row.lose(f"change, {fault}: {answer}")
            try:
                handle.pwrite(data, 2 * REGION_BYTES)
                row.lose(f"change, {fault}: a write was acknowledged, neither journaled nor tracked")
            except nbd.Error:
                pass
        _judge_failure(row, f"change, {fault}", server, fault)
        server.kill()
        server.start()
        if server.files.dirty_map.exists():
            row.lose(f"change, {fault}: a suspension that was refused is in force after a restart")
        _judge_content(row, f"change, {fault}", server, data)
        _order(row, fault, server)
        server.stop()


@contextmanager
def _server(processes: Processes, directory: Path) -> Iterator[VolumeServer]:
    files = make_files(directory / "group", 1, VOLUME_BYTES)
    with VolumeServer(processes, directory, files, name=directory.name) as server:
        server.start()
        yield server


def _refused(processes: Processes, server: VolumeServer, fault: Fault) -> AbstractContextManager[Refusal]:
    return refused(processes, server.directory, server.process.pid, fault, server.files.dirty_map)


def _order(row: Row, fault: Fault, server: VolumeServer) -> None:
    answer = server.command("suspend", cause="operator")
    if not answer["ok"]:
        row.lose(f"{fault}: not suspended on a disk that is well: {answer}")


def _judge_failure(row: Row, label: str, server: VolumeServer, fault: Fault) -> None:
    failure = server.command("status")["failure"]
    words = failure["message"] if failure else ""
    if not fault.named_in(words) or str(server.files.dirty_map) not in words:
        row.lose(f"{label}: status does not name it: {failure}")


def _judge_content(row: Row, label: str, server: VolumeServer, data: bytes) -> None:
    """What was acknowledged is there, what was refused is not, and the next write is taken."""
    with connected(server.uri()) as handle:
        if bytes(handle.pread(4096, 0)) != data or any(handle.pread(4096, 2 * REGION_BYTES)):
            row.lose(f"{label}: the volume is not what was acknowledged")
        handle.pwrite(data, 2 * REGION_BYTES, nbd.CMD_FLAG_FUA)
