"""In-band runs over suspensions, broken journals, restarts, volumes that leave, and errors."""

from __future__ import annotations

import errno
import random
import threading
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

import pytest

from controller.api.models import AcquisitionMode, SuspendedCause
from controller.api.runs import Range, RunKind, RunOrder, RunPhase
from controller.errors import ConflictError
from controller.inband import chunk, runs
from controller.journal.layout import Kind
from controller.journal.volume import JournalVolume
from controller.restore.apply import apply
from controller.volume.backing import Backing
from controller.volume.journaled import JournaledPath
from controller.volume.settings import parse_server
from controller.volume.write_path import WritePath
from tests.support.inband import account
from tests.support.volume_server import GroupFiles
from tests.support.waiting import wait_until
from tests.unit.inband.parts import MIB, contents, ended, journal_of, last, writers


def test_a_suspension_pauses_the_run_and_what_is_left_follows(files: GroupFiles, monkeypatch: Any) -> None:
    taken: list[int] = []
    gate = threading.Event()
    take = chunk.Chunk.take

    def slow(self: chunk.Chunk, volume: Any, left: Range, done: int) -> Any:
        if done and not gate.is_set():
            return None
        taken.append(done)
        return take(self, volume, left, done)

    monkeypatch.setattr(chunk.Chunk, "take", slow)
    server = WritePath.open(files.settings)
    settings = files.settings.journal
    assert settings is not None
    server.order_run(RunOrder(run="r", kind=RunKind.BASE))
    wait_until(lambda: taken)
    server.suspend(SuspendedCause.OPERATOR)
    gate.set()
    wait_until(lambda: "no journal" in str(server.status()["run"]["waits"]))
    server.write(server.volumes["data"], memoryview(b"s" * 4096), 3 * MIB)
    files.confirm_all()
    server.resume(settings)
    before = last(server)
    ended(server, "r")
    records = journal_of(server).records(before + 1, last(server))
    assert int(records[records["kind"] == Kind.BASE]["block_count"].sum()) * 512 >= 3 * MIB
    server.close()


def refuse(*_: object) -> NoReturn:
    raise OSError(errno.EIO, "gone")


def read_all(server: WritePath) -> dict[int, bytes]:
    found = {}
    for volume in server.volumes.values():
        content = bytearray(volume.size_bytes)
        server.read(volume, memoryview(content), 0)
        found[volume.index] = bytes(content)
    return found


def test_a_journal_that_broke_in_the_middle_loses_nothing_of_the_copy(
    files: GroupFiles, tmp_path: Path, monkeypatch: Any
) -> None:
    """What the secondary gets: journals up to the break, the regions marked then, and what the run brings after it."""
    document = files.document
    document["journal"]["on_error"] = "suspend"
    settings = parse_server(document)
    assert settings.journal is not None
    monkeypatch.setattr(runs, "SAVE_SECONDS", 0.0)
    take = chunk.Chunk.take
    monkeypatch.setattr(chunk.Chunk, "take", lambda *a: take(*a) if a[3] < MIB else None)
    server = WritePath.open(settings)
    data, path = server.volumes["data"], server._path
    assert isinstance(path, JournaledPath)
    server.order_run(RunOrder(run="r", kind=RunKind.BASE))
    wait_until(lambda: server.status()["run"]["bytes_done"] == MIB)
    server.flush(data)
    files.confirm_all()
    with monkeypatch.context() as broken:
        broken.setattr(path.commit, "_sync", refuse)
        monkeypatch.setattr(chunk.Chunk, "take", take)
        wait_until(lambda: server.mode is AcquisitionMode.SUSPENDED, what="the journal to be given up")
    assert server._marks is not None
    last_good = server._marks.head.position.sequence
    targets = {}
    for index, content in contents(files).items():
        (tmp_path / f"svol{index}").write_bytes(random.Random(index).randbytes(len(content)))
        targets[index] = Backing.open(str(tmp_path / f"svol{index}"), len(content))
    journal = JournalVolume.open(str(files.journal), writable=False)
    apply(journal, targets, 1, last_good)
    server.write(data, memoryview(b"d" * 4096), 4096)
    server.resume(settings.journal)
    held = read_all(server)
    for index, backing in targets.items():
        for start, length in server._marks.regions(index):
            backing.pwrite(held[index][start : start + length], start)
    ended(server, "r")
    apply(journal, targets, last_good + 1, last(server))
    for index, expected in read_all(server).items():
        found = bytearray(len(expected))
        targets[index].pread_into(found, 0)
        assert found == expected, f"volume {index}"
        targets[index].close()
    journal.close()
    server.close()


def test_a_server_that_died_goes_on_where_the_record_says(files: GroupFiles, monkeypatch: Any) -> None:
    monkeypatch.setattr(runs, "SAVE_SECONDS", 0.0)
    before, take = contents(files), chunk.Chunk.take
    monkeypatch.setattr(chunk.Chunk, "take", lambda *a: take(*a) if a[3] < 2 * MIB else None)
    server = WritePath.open(files.settings)
    server.order_run(RunOrder(run="r", kind=RunKind.BASE))
    wait_until(lambda: server.status()["run"]["bytes_done"] == 2 * MIB)
    assert server._runs is not None
    server._runs.stop()
    assert isinstance(server._path, JournaledPath)
    server._path.close()  # nothing is drained, as after a kill
    for volume in server.volumes.values():
        volume.backing.close()
    monkeypatch.setattr(chunk.Chunk, "take", take)
    server = WritePath.open(files.settings)
    with writers(server):
        state = ended(server, "r")
    assert state.bytes_done == state.bytes_total
    assert not account(journal_of(server), before, last(server)).wrong
    records = journal_of(server).records(1, last(server))
    base = records[records["kind"] == Kind.BASE]
    assert int(base["block_count"].sum()) * 512 == state.bytes_total
    server.close()


@pytest.mark.parametrize("kind", RunKind)
def test_a_volume_that_leaves_in_the_middle_of_a_chunk_is_spoken_of_no_more(
    server: WritePath, monkeypatch: Any, kind: RunKind
) -> None:
    read = JournaledPath.read
    left: list[int] = []

    def leaves(path: JournaledPath, volume: Any, buffer: memoryview, offset: int) -> None:
        read(path, volume, buffer, offset)
        if not left:
            left.append(server.leave(["log"]).sequence)

    monkeypatch.setattr(JournaledPath, "read", leaves)
    server.order_run(RunOrder(run="r", kind=kind, ranges=[Range(1, 0, 128 << 10)]))
    wait_until(lambda: server.status()["run"]["phase"] == "failed")
    assert "left the group" in server.status()["run"]["failure"]["message"]
    assert last(server) == left[0]


def test_acquisition_off_and_on_lets_a_run_go_on(files: GroupFiles, server: WritePath, monkeypatch: Any) -> None:
    take = chunk.Chunk.take
    monkeypatch.setattr(chunk.Chunk, "take", lambda *_: None)
    server.order_run(RunOrder(run="r", kind=RunKind.VERIFY))
    server.stop()
    assert server.status()["run"] is None
    monkeypatch.setattr(chunk.Chunk, "take", take)
    settings = files.settings.journal
    assert settings is not None
    server.start(settings)
    ended(server, "r")


def test_another_generation_interrupts_a_run(files: GroupFiles, monkeypatch: Any) -> None:
    monkeypatch.setattr(chunk.Chunk, "take", lambda *_: None)
    server = WritePath.open(files.settings)
    server.order_run(RunOrder(run="r", kind=RunKind.VERIFY))
    server.close()
    server = WritePath.open(parse_server(files.document | {"journal": files.journal_document | {"generation": 2}}))
    assert server.status()["run"]["phase"] == "interrupted"
    server.close()


def test_a_volume_that_cannot_be_read_fails_the_run_by_name(server: WritePath, monkeypatch: Any) -> None:
    read = JournaledPath.read

    def refuse(*_: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(JournaledPath, "read", refuse)
    order = RunOrder(run="r", kind=RunKind.VERIFY)
    server.order_run(order)
    wait_until(lambda: server.status()["run"]["phase"] == "failed")
    assert "cannot be read" in server.status()["run"]["failure"]["message"]
    monkeypatch.setattr(JournaledPath, "read", read)
    server.order_run(order)
    ended(server, "r")


def test_a_cancelled_run_never_goes_on(files: GroupFiles) -> None:
    cancel = RunOrder(run="one", kind=RunKind.VERIFY, cancel=True)
    with closing(WritePath.open(files.settings)) as server:
        with pytest.raises(ConflictError, match="not the newest"):
            server.order_run(cancel)
        server.order_run(RunOrder(run="one", kind=RunKind.VERIFY))
        with pytest.raises(ConflictError, match="not the newest"):
            server.order_run(RunOrder(run="two", kind=RunKind.VERIFY, cancel=True))
        for _ in range(2):
            assert server.order_run(cancel).phase is RunPhase.INTERRUPTED
        assert server.order_run(RunOrder(run="one", kind=RunKind.VERIFY)).phase is RunPhase.INTERRUPTED
    with closing(WritePath.open(files.settings)) as again:
        assert again.order_run(RunOrder(run="one", kind=RunKind.VERIFY)).phase is RunPhase.INTERRUPTED
        again.order_run(RunOrder(run="two", kind=RunKind.VERIFY))
        ended(again, "two")
