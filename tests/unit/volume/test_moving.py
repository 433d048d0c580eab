"""A journal moved to a volume of another size while hosts write: nothing is lost, at whatever step the server dies."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec import structs

from controller import durable
from controller.api.models import SuspendedCause
from controller.errors import CapacityError, ConflictError, IntegrityError, NotFoundError
from controller.journal import moving
from controller.journal.pointers import Pointer, PointerPage, Position
from controller.journal.recovery import scan
from controller.journal.volume import JournalVolume
from controller.volume.settings import JournalSettings, parse_journal
from controller.volume.write_path import WritePath
from tests.support.volume_server import GroupFiles
from tests.support.waiting import wait_until

MIB = 1 << 20
SIZES = {"data": 8 * MIB, "log": 2 * MIB}


@pytest.fixture
def files(tmp_path: Path) -> GroupFiles:
    return GroupFiles(tmp_path, SIZES, 2 * MIB, full_wait_seconds=2.0).create()


@pytest.fixture
def server(files: GroupFiles) -> Iterator[WritePath]:
    server = WritePath.open(files.settings)
    yield server
    server.close()


def laid_out(files: GroupFiles, size_bytes: int) -> str:
    path = str(files.directory / "journal.next")
    JournalVolume.create(path, size_bytes, files.uuid, 1)
    return path


def settings_of(files: GroupFiles) -> JournalSettings:
    return parse_journal(files.journal_document)


def pointer(files: GroupFiles, name: Pointer) -> Position:
    page = PointerPage.open(str(files.pointers))
    try:
        return page.read(name)
    finally:
        page.close()


def choose(dice: random.Random, model: dict[str, bytearray]) -> tuple[str, int, bytes]:
    name = dice.choice(list(SIZES))
    offset = dice.randrange(SIZES[name] // 512 - 16) * 512
    data = dice.randbytes(dice.choice((512, 4096)))
    model[name][offset : offset + len(data)] = data
    return name, offset, data


def write(server: WritePath, dice: random.Random, model: dict[str, bytearray]) -> None:
    name, offset, data = choose(dice, model)
    server.write(server.volumes[name], memoryview(data), offset)


def holds(server: WritePath, model: dict[str, bytearray]) -> bool:
    for name, content in model.items():
        found = bytearray(len(content))
        server.read(server.volumes[name], memoryview(found), 0)
        if found != content:
            return False
    return True


def empty() -> dict[str, bytearray]:
    return {name: bytearray(size) for name, size in SIZES.items()}


def journals_needed(files: GroupFiles) -> tuple[Position, str]:
    """Where the records end that follow journal_out in the journal of that name."""
    journal = JournalVolume.open(str(files.journal), writable=False)
    try:
        return scan(journal, pointer(files, Pointer.JOURNAL_OUT))
    finally:
        journal.close()


@pytest.mark.parametrize("size_bytes", [4 * MIB, MIB])
def test_every_journal_still_needed_goes_along(server: WritePath, files: GroupFiles, size_bytes: int) -> None:
    dice, model = random.Random(1), empty()
    for _ in range(90):
        write(server, dice, model)
    server.flush_all()
    files.confirm_all()
    for _ in range(60):
        write(server, dice, model)
    tail = server.move_journal(settings_of(files), laid_out(files, size_bytes), Position())
    assert tail.sequence == 150
    assert not (files.directory / "journal.next").exists()
    assert JournalVolume.header_of(str(files.journal)).end_bytes <= size_bytes
    for _ in range(20):
        write(server, dice, model)
    server.flush_all()
    assert holds(server, model)
    assert pointer(files, Pointer.JOURNAL_OUT).sequence >= 50
    assert journals_needed(files)[0].sequence == 170


def test_hosts_write_on_and_a_full_journal_has_room_again(files: GroupFiles) -> None:
    """The journal is full, a write waits for space; the move to a larger one lets it go on."""
    server = WritePath.open(GroupFiles(files.directory, SIZES, 2 * MIB, 20.0, uuid=files.uuid).settings)
    dice, model, blocked = random.Random(2), empty(), threading.Event()

    def fill() -> None:
        for count in range(1000):  # more than 2 MiB of data
            if count == 500:
                blocked.set()
            write(server, dice, model)

    thread = threading.Thread(target=fill)
    thread.start()
    blocked.wait(20)
    path = server._journaled
    assert path is not None
    wait_until(lambda: bool(path._waiting), 20, "a write to wait for space")
    server.move_journal(settings_of(files), laid_out(files, 8 * MIB), Position())
    thread.join(30)
    assert not thread.is_alive()
    assert server.mode == "journal"
    assert holds(server, model)
    server.flush_all()
    assert journals_needed(files)[0].sequence == 1000
    server.close()


def test_a_suspended_group_takes_a_larger_journal_and_resumes_with_it(server: WritePath, files: GroupFiles) -> None:
    dice, model = random.Random(3), empty()
    for _ in range(30):
        write(server, dice, model)
    server.suspend(SuspendedCause.OPERATOR)
    write(server, dice, model)
    tail = server.move_journal(settings_of(files), laid_out(files, 4 * MIB), Position()).sequence
    assert tail >= 30
    write(server, dice, model)
    assert journals_needed(files)[0].sequence == tail
    files.confirm_all()
    assert server.resume(settings_of(files)).sequence == tail + 1
    write(server, dice, model)
    server.flush_all()
    assert holds(server, model)
    assert journals_needed(files)[0].sequence == tail + 2


def test_what_does_not_fit_is_refused_and_the_group_goes_on(server: WritePath, files: GroupFiles) -> None:
    dice, model = random.Random(4), empty()
    for _ in range(600):
        write(server, dice, model)
    small = laid_out(files, MIB)
    with pytest.raises(CapacityError, match="cannot hold the 600 journals"):
        server.move_journal(settings_of(files), small, Position())
    write(server, dice, model)
    os.unlink(small)
    with pytest.raises(NotFoundError, match="missing"):
        server.move_journal(settings_of(files), small, Position())
    with pytest.raises(ConflictError, match="not open"):
        server.move_journal(structs.replace(settings_of(files), path="/elsewhere"), small, Position())
    write(server, dice, model)
    assert holds(server, model)
    server.flush_all()
    assert journals_needed(files)[0].sequence == 602


def test_damage_is_named_when_the_record_is_needed_and_left_out_when_it_is_not(
    server: WritePath, files: GroupFiles
) -> None:
    dice = random.Random(5)
    for _ in range(40):
        write(server, dice, empty())
    tail = server.flush_all()
    old = JournalVolume.open(str(files.journal), writable=False)
    spoiler = os.open(files.journal, os.O_RDWR)
    header = old.header
    os.pwrite(spoiler, b"\xff" * 8, header.metadata_head_lba * 512 + 20 * 64 + 24)
    os.close(spoiler)
    new = JournalVolume.open(laid_out(files, 2 * MIB), writable=True)
    with pytest.raises(IntegrityError, match="damaged at sequence 20"):
        moving.carry(old, new, Position(), tail, Position)
    record = old.records(25, 25)[0]
    freed = Position(25, int(record["data_position"]) + int(record["data_blocks"]), int(record["time_ns"]))
    outs = iter([Position()] * 2)
    assert moving.carry(old, new, Position(), tail, lambda: next(outs, freed)) == tail
    assert scan(new, freed)[0] == tail
    new.close()
    old.close()


def counted(limit: int) -> Callable[[], None]:
    """The `limit`-th call of what this counts is the last thing that the process does."""
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        if count == limit:
            os._exit(9)

    return step


def move_and_die(files: GroupFiles, limit: int, told: int) -> None:
    """In a child: write, move the journal, write on; each acknowledged write is told. Dies at the given step."""
    server = WritePath.open(files.settings)
    dice, model = random.Random(6), empty()
    for _ in range(60):
        write(server, dice, model)
        os.write(told, b".")
    path = laid_out(files, 2 * MIB)
    step = counted(limit)
    for owner, name in ((os, "rename"), (os, "fdatasync"), (os, "pwrite"), (durable, "sync_directory")):
        call = getattr(owner, name)

        def stepping(*words: object, _call: Callable[..., object] = call) -> object:
            step()
            result = _call(*words)
            step()
            return result

        setattr(owner, name, stepping)
    server.move_journal(settings_of(files), path, Position())
    for _ in range(5):
        write(server, dice, model)
        os.write(told, b".")
    os._exit(0)


def test_whatever_step_the_server_dies_at(tmp_path: Path) -> None:
    deaths, with_old, with_new = 0, 0, 0
    for limit in range(1, 200):
        files = GroupFiles(tmp_path / str(limit), SIZES, MIB).create()
        before = JournalVolume.header_of(str(files.journal)).journal_uuid
        hear, told = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                move_and_die(files, limit, told)
            finally:
                os._exit(1)
        os.close(told)
        acknowledged = 0
        while said := os.read(hear, 4096):
            acknowledged += len(said)
        os.close(hear)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, 9)
        moved = JournalVolume.header_of(str(files.journal)).journal_uuid != before
        dice, model = random.Random(6), empty()
        recovered = WritePath.open(files.settings)
        count = recovered.status()["appended"]["sequence"]
        assert count >= acknowledged
        for _ in range(count):
            choose(dice, model)
        assert holds(recovered, model)
        recovered.close()
        assert journals_needed(files)[0].sequence == count
        if code == 0:
            assert moved
            break
        deaths, with_old, with_new = deaths + 1, with_old + (not moved), with_new + moved
    print(f"died at {deaths} steps: {with_old} before the switch, {with_new} after it")
    assert with_old >= 5
    assert with_new >= 3


def test_what_a_power_cut_could_take_is_durable_before_the_switch(
    server: WritePath, files: GroupFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records and pointers before the rename, the rename before the first write to the new volume."""
    dice = random.Random(8)
    for _ in range(30):
        write(server, dice, empty())
    path, done = laid_out(files, 4 * MIB), list[str]()
    new = os.stat(path).st_ino

    def noting(owner: object, name: str, words: Callable[..., str]) -> None:
        call = getattr(owner, name)

        def noted(*arguments: object) -> object:
            result = call(*arguments)
            if said := words(*arguments):
                done.append(said)
            return result

        monkeypatch.setattr(owner, name, noted)

    noting(JournalVolume, "write_data", lambda volume, *_: "write" if os.fstat(volume.file).st_ino == new else "")
    noting(os, "fdatasync", lambda file: "sync" if os.fstat(file).st_ino == new else "")
    noting(PointerPage, "persist", lambda page: "pointers")
    noting(os, "rename", lambda *_: "rename")
    noting(durable, "sync_directory", lambda *_: "name")
    server.move_journal(settings_of(files), path, Position())
    write(server, dice, empty())
    server.flush_all()
    switch = done.index("rename")
    before, after = done[:switch], done[switch:]
    carried = len(before) - 1 - before[::-1].index("write")
    assert "sync" in before[carried:]
    assert "pointers" in before[carried:]
    assert after[1] == "name"
