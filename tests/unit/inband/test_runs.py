"""In-band runs in one process: what they leave in the journal, beside writers, over suspensions and restarts."""

from __future__ import annotations

import errno
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

from controller.api.models import AcquisitionMode, SuspendedCause
from controller.api.runs import Range, RunKind, RunOrder, RunPhase, RunState
from controller.errors import ConflictError, UsageError
from controller.inband import chunk, runs
from controller.journal.layout import Kind
from controller.journal.volume import JournalVolume
from controller.restore.apply import apply
from controller.volume.backing import Backing
from controller.volume.journaled import JournaledPath
from controller.volume.settings import ServerSettings
from controller.volume.write_path import WritePath
from tests.support.inband import Account, account
from tests.support.volume_server import GroupFiles
from tests.support.waiting import wait_until

MIB = 1 << 20
SIZES = {"data": 4 * MIB, "log": MIB}


@pytest.fixture
def files(tmp_path: Path) -> GroupFiles:
    """Volumes with old content in them, before the group is made: half random, half holes."""
    made = GroupFiles(tmp_path, SIZES, 64 * MIB).create()
    for name, size in SIZES.items():
        with made.volume(name).open("r+b") as file:
            file.write(random.Random(name).randbytes(size // 2))
    return made


@pytest.fixture
def server(files: GroupFiles) -> Iterator[WritePath]:
    server = WritePath.open(files.settings)
    yield server
    server.close()


def contents(files: GroupFiles) -> dict[int, bytes]:
    return {index: files.volume(name).read_bytes() for index, name in enumerate(SIZES)}


def ended(server: WritePath, run: str) -> RunState:
    def done() -> RunState | None:
        state = server._runs.state() if server._runs else None
        assert state is None or state.phase is not RunPhase.FAILED, state
        return state if state is not None and state.run == run and state.phase is RunPhase.DONE else None

    found = wait_until(done, what=f"the end of run {run}")
    assert found is not None
    return found


def journal_of(server: WritePath) -> JournalVolume:
    assert isinstance(server._path, JournaledPath)
    return server._path.journal


def last(server: WritePath) -> int:
    assert isinstance(server._path, JournaledPath)
    return server._path.appender.sequence


@contextmanager
def writers(server: WritePath, count: int = 3) -> Iterator[None]:
    """Threads that write, zero and trim everywhere, mostly in small places, until the block ends."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def main(number: int) -> None:
        chance = random.Random(number)
        try:
            while not stop.wait(0.001):  # else the journal would be full before the run is done
                volume = server.volumes[chance.choice(["data", "data", "log"])]
                blocks = chance.choice([1, 8, 8, 64, 100])
                offset = chance.randrange(volume.size_bytes // 512 - blocks) * 512
                if chance.random() < 0.9:
                    server.write(volume, memoryview(chance.randbytes(blocks * 512)), offset)
                else:
                    server.zero(volume, offset, blocks * 512, chance.random() < 0.5)
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=main, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        assert not failures


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
    settings = ServerSettings.model_validate(document)
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
    settings = files.settings
    assert settings.journal is not None
    settings.journal.generation = 2
    server = WritePath.open(settings)
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
