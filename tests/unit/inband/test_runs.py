"""In-band runs in one process: what they leave in the journal, beside writers and in little room."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from controller.api.runs import Range, RunKind, RunOrder, RunPhase
from controller.errors import ConflictError, UsageError
from controller.inband import chunk, runs
from controller.journal.layout import Kind
from controller.restore.apply import apply
from controller.volume.backing import Backing
from controller.volume.journaled import JournaledPath
from controller.volume.write_path import WritePath
from tests.support.inband import Account, account
from tests.support.volume_server import GroupFiles
from tests.support.waiting import wait_until
from tests.unit.inband.parts import MIB, contents, ended, journal_of, last, writers


def run_beside_writers(files: GroupFiles, server: WritePath, kind: RunKind, times: int = 1) -> Account:
    before = contents(files)
    with writers(server):
        for number in range(times):
            server.order_run(RunOrder(run=f"r{number}", kind=kind))
            ended(server, f"r{number}")
    return account(journal_of(server), before, last(server))


@pytest.mark.parametrize("kind", RunKind)
def test_every_record_says_what_the_journals_before_it_left(
    files: GroupFiles, server: WritePath, kind: RunKind
) -> None:
    found = run_beside_writers(files, server, kind)
    assert not found.wrong
    assert bool(found.base_records) == (kind is not RunKind.VERIFY)
    assert bool(found.digests) == (kind is not RunKind.BASE)
    assert len(found.begun) == len(found.ended) == 1


def test_control_without_the_hold_records_are_wrong(
    files: GroupFiles, server: WritePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(JournaledPath, "_held_off", lambda *_: False)
    assert run_beside_writers(files, server, RunKind.VERIFY, times=5).wrong


def test_a_volume_that_held_anything_is_right_from_the_end_on(
    files: GroupFiles, server: WritePath, tmp_path: Path
) -> None:
    before = contents(files)
    with writers(server):
        server.order_run(RunOrder(run="r1", kind=RunKind.BASE))
        end = ended(server, "r1").end_sequence
        assert end is not None
        wait_until(lambda: last(server) > end + 20, what="writes after the run")
    targets = {}
    for index, content in before.items():
        path = tmp_path / f"svol{index}"
        path.write_bytes(random.Random(index).randbytes(len(content)))
        targets[index] = Backing.open(str(path), len(content))
    journal = journal_of(server)
    apply(journal, targets, 1, end)
    model = account(journal, before, end)
    for sequence in range(end, last(server) + 1):
        if sequence > end:
            apply(journal, targets, sequence, sequence)
            model = account(journal, {i: bytes(v) for i, v in model.volumes.items()}, sequence, sequence)
        if sequence % 10 == 0 or sequence in (end, last(server)):
            for index, backing in targets.items():
                held = bytearray(backing.size_bytes)
                backing.pread_into(held, 0)
                assert held == model.volumes[index], f"volume {index} after journal {sequence}"
    for backing in targets.values():
        backing.close()


def test_only_the_ranges_of_the_order_are_visited(files: GroupFiles, server: WritePath) -> None:
    ranges = [Range(0, 8192, 4096), Range(0, 4096, 4096), Range(1, 512, 1024)]
    state = server.order_run(RunOrder(run="few", kind=RunKind.BASE, ranges=ranges))
    assert state.bytes_total == 8192 + 1024
    ended(server, "few")
    records = journal_of(server).records(1, last(server))
    base = records[records["kind"] == Kind.BASE]
    assert [(int(r["volume"]), int(r["volume_lba"]), int(r["block_count"])) for r in base] == [(0, 8, 16), (1, 1, 2)]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (Range(2, 0, 512), "does not have"),
        (Range(1, MIB - 512, 1024), "not within"),
        (Range(0, 100, 512), "whole 512-byte blocks"),
    ],
)
def test_ranges_that_are_not_there_are_refused(server: WritePath, bad: Range, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        server.order_run(RunOrder(run="bad", kind=RunKind.BASE, ranges=[bad]))


def test_the_same_order_is_the_same_run_and_another_one_waits(server: WritePath, monkeypatch: Any) -> None:
    monkeypatch.setattr(chunk.Chunk, "take", lambda *_: None)
    first = server.order_run(RunOrder(run="one", kind=RunKind.BASE))
    assert server.order_run(RunOrder(run="one", kind=RunKind.BASE)).started_ns == first.started_ns
    with pytest.raises(ConflictError, match="run one"):
        server.order_run(RunOrder(run="two", kind=RunKind.VERIFY))
    assert server.order_run(RunOrder(run="two", kind=RunKind.BASE, replace=True)).run == "two"


def freeing(server: WritePath, files: GroupFiles, journals: dict[int, int]) -> Callable[[], None]:
    """A reader that confirms all there is until it is told to stop, keeping how many base bytes it saw."""
    stop = threading.Event()

    def main() -> None:
        seen = 0
        while not stop.wait(0.005):
            path = server._path
            if not isinstance(path, JournaledPath):
                continue
            durable = path.commit.durable.sequence
            for record in path.journal.records(seen + 1, durable) if durable > seen else ():
                if record["kind"] == Kind.BASE:
                    volume = int(record["volume"])
                    journals[volume] = journals.get(volume, 0) + int(record["block_count"]) * 512
            seen = durable
            files.confirm_all()

    thread = threading.Thread(target=main)
    thread.start()

    def end() -> None:
        stop.set()
        thread.join()

    return end


def test_a_journal_shorter_than_the_volume_is_filled_again_and_again(tmp_path: Path) -> None:
    small = GroupFiles(tmp_path, {"data": 16 * MIB, "log": MIB}, MIB).create()
    small.volume("data").write_bytes(random.Random(1).randbytes(16 * MIB))
    server = WritePath.open(small.settings)
    seen: dict[int, int] = {0: 0}
    end = freeing(server, small, seen)
    try:
        server.order_run(RunOrder(run="stages", kind=RunKind.BASE))
        page, turn = memoryview(b"w" * 4096), threading.Event()
        while (state := server.order_run(RunOrder(run="stages", kind=RunKind.BASE))).phase is RunPhase.RUNNING:
            server.write(server.volumes["log"], page, 0)  # never refused, never suspended
            turn.wait(0.002)
        assert state.phase is RunPhase.DONE
        assert isinstance(server._path, JournaledPath)
        wait_until(lambda: seen[0] >= 16 * MIB, what="base journals of the whole volume")
    finally:
        end()
        server.close()


def test_without_a_reader_hosts_keep_half_of_the_journal(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(runs, "PATIENCE_SECONDS", 3600.0)
    small = GroupFiles(tmp_path, {"data": 4 * MIB}, 2 * MIB, full_wait_seconds=0.0).create()
    small.volume("data").write_bytes(random.Random(1).randbytes(4 * MIB))
    server = WritePath.open(small.settings)
    server.order_run(RunOrder(run="r", kind=RunKind.BASE))
    wait_until(lambda: server._runs and (server._runs.state() or 0) and server.status()["run"]["waits"])
    path = server._path
    assert isinstance(path, JournaledPath)
    assert 0.5 < path.used_share() < 0.7
    for number in range(128):  # half a MiB and more of host writes fit at once
        server.write(server.volumes["data"], memoryview(bytes(4096)), number * 4096)
    assert server._path is path
    server.close()
