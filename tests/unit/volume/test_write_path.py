"""Modes and their changes, a full journal, and disks that refuse: on real files, in this process."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import pytest

from controller.api.models import AcquisitionMode
from controller.errors import ConflictError, IntegrityError, NotFoundError, PairvolError, StorageError, UsageError
from controller.journal.layout import Flag
from controller.journal.pointers import Pointer, PointerPage, Position
from controller.journal.volume import JournalVolume
from controller.volume import dirty
from controller.volume.direct import DirectPath
from controller.volume.host_path import ServedVolume
from controller.volume.journaled import JournaledPath
from controller.volume.settings import JournalSettings, ServerSettings
from controller.volume.write_path import REQUEST_BYTES_MAX, WritePath
from tests.support.volume_server import GroupFiles
from tests.support.waiting import wait_until

MIB = 1 << 20
PAGE = memoryview(b"\xa5" * 4096)


@pytest.fixture
def files(tmp_path: Path) -> GroupFiles:
    return GroupFiles(tmp_path, {"data": 8 * MIB, "log": 2 * MIB}, MIB).create()


@pytest.fixture
def server(files: GroupFiles) -> Iterator[WritePath]:
    server = WritePath.open(files.settings)
    yield server
    server.close()


def journal_settings(files: GroupFiles) -> JournalSettings:
    settings = files.settings.journal
    assert settings is not None
    return settings


def journaled(server: WritePath) -> JournaledPath:
    assert isinstance(server._path, JournaledPath)
    return server._path


def mode(server: WritePath) -> AcquisitionMode:
    return server.mode


def read(server: WritePath, volume: ServedVolume, offset: int, count: int) -> bytes:
    found = bytearray(count)
    server.read(volume, memoryview(found), offset)
    return bytes(found)


def write_pages(server: WritePath, pages: range) -> None:
    for page in pages:
        server.write(server.volumes["data"], PAGE, page * 4096)


def refuse(*_: object) -> NoReturn:
    raise OSError(errno.EIO, "gone")


def fill(server: WritePath) -> None:
    """Write until the journal is full and the group is suspended."""
    data = server.volumes["data"]
    for page in range(4 * MIB // 4096):
        server.write(data, PAGE, page % 1024 * 4096)
        if server.mode is AcquisitionMode.SUSPENDED:
            return
    raise AssertionError("the journal never filled")


# journal first


def test_the_store_is_not_written_before_the_checkpoint_and_reads_see_the_write(
    server: WritePath, files: GroupFiles
) -> None:
    data = server.volumes["data"]
    server.write(data, PAGE, 4096)
    assert read(server, data, 0, 12288) == bytes(4096) + bytes(PAGE) + bytes(4096)
    assert not any(files.volume("data").read_bytes())
    server.checkpoint()
    assert files.volume("data").read_bytes()[4096:8192] == PAGE
    assert read(server, data, 0, 12288) == bytes(4096) + bytes(PAGE) + bytes(4096)


def test_flush_and_fua_publish_what_is_durable(server: WritePath, files: GroupFiles) -> None:
    page = PointerPage.open(str(files.pointers))
    data = server.volumes["data"]
    server.write(data, PAGE, 0, fua=True)
    assert page.read(Pointer.DURABLE).sequence == page.read(Pointer.JOURNAL_IN).sequence == 1
    server.trim(data, 0, 4096, fua=True)
    assert page.read(Pointer.DURABLE).sequence == 2
    server.write(data, PAGE, 0)
    server.flush(server.volumes["log"])
    assert page.read(Pointer.DURABLE) == journaled(server).appender.tail
    page.close()


def test_writes_become_durable_without_a_flush(server: WritePath, files: GroupFiles) -> None:
    page = PointerPage.open(str(files.pointers))
    server.write(server.volumes["data"], PAGE, 0)
    wait_until(lambda: page.read(Pointer.DURABLE).sequence == 1, 10, "the background sync")
    page.close()


def test_space_is_used_again_once_confirmed_and_in_a_checkpoint(server: WritePath, files: GroupFiles) -> None:
    data = server.volumes["data"]
    server.write(data, PAGE, 0)
    assert server.checkpoint().sequence == 1
    assert journaled(server).destager.out == Position(), "the other site has confirmed nothing"
    server.flush(data)
    files.confirm_all()
    server.write(data, PAGE, 0)
    server.checkpoint()
    assert journaled(server).destager.out.sequence == 1


def test_a_write_waits_for_space_that_the_other_site_confirms(files: GroupFiles) -> None:
    files.full_wait_seconds = 20.0
    server = WritePath.open(files.settings)
    stop = threading.Event()

    def confirm() -> None:
        while not stop.wait(0.01):
            files.confirm_all()

    with ThreadPoolExecutor(4) as pool:
        confirming = pool.submit(confirm)
        writers = [pool.submit(write_pages, server, range(700)) for _ in range(3)]
        try:
            for writer in writers:
                writer.result(60)
        finally:
            stop.set()
        confirming.result(10)
    assert mode(server) is AcquisitionMode.JOURNAL
    assert journaled(server).appender.sequence == 2100
    server.close()


# a full journal


def test_a_full_journal_suspends_in_bounded_time_and_tracks(files: GroupFiles) -> None:
    files.full_wait_seconds = 0.2
    server = WritePath.open(files.settings)
    fill(server)
    status = server.status()
    assert status["mode"] == "suspended"
    assert status["dirty_bytes"] == MIB
    assert status["checkpoint"] == status["appended"], "what is journaled was brought to the stores"
    data, log = server.volumes["data"], server.volumes["log"]
    server.write(data, PAGE, 5 * MIB)
    server.zero(log, 0, MIB, may_trim=False)
    assert server.status()["dirty_bytes"] == 3 * MIB
    assert files.volume("data").read_bytes()[5 * MIB : 5 * MIB + 4096] == PAGE
    server.close()

    server = WritePath.open(files.settings)
    assert mode(server) is AcquisitionMode.SUSPENDED, "the switch survives a restart"
    assert server.status()["dirty_bytes"] == 3 * MIB
    assert server.status()["appended"] == status["appended"], "the journal is kept as it was"
    assert read(server, server.volumes["data"], 5 * MIB, 4096) == PAGE
    with pytest.raises(ConflictError):
        server.start(journal_settings(files))
    server.stop()
    assert mode(server) is AcquisitionMode.DIRECT
    assert not dirty.exists(str(files.dirty_map))
    server.close()


def test_all_who_wait_for_space_go_on_when_the_group_is_suspended(files: GroupFiles) -> None:
    files.full_wait_seconds = 0.3
    server = WritePath.open(files.settings)
    data = server.volumes["data"]
    with ThreadPoolExecutor(8) as pool:
        writers = [pool.submit(write_pages, server, range(first, first + 200)) for first in range(0, 1600, 200)]
        for writer in writers:
            writer.result(60)
    assert mode(server) is AcquisitionMode.SUSPENDED
    assert all(read(server, data, page * 4096, 4096) == PAGE for page in range(1600))
    server.close()


def test_a_dirty_map_that_cannot_be_made_stops_all_writes(files: GroupFiles) -> None:
    files.full_wait_seconds = 0.1
    document = files.document
    document["journal"]["dirty_map"] = str(files.directory / "missing" / "dirty")
    server = WritePath.open(ServerSettings.model_validate(document))
    with pytest.raises(StorageError):
        fill(server)
    assert mode(server) is AcquisitionMode.FAILED
    with pytest.raises(StorageError):
        server.write(server.volumes["data"], PAGE, 0)
    server.close()


# acquisition on live volumes


def test_start_and_stop_under_load_lose_nothing(tmp_path: Path) -> None:
    files = GroupFiles(tmp_path, {"data": 8 * MIB}).create()
    server = WritePath.open(files.settings)
    data = server.volumes["data"]
    files.create_journal(16 * MIB)
    ended = threading.Event()

    def write(writer: int) -> list[int]:
        rounds = 0
        while not ended.is_set():
            rounds += 1
            page = memoryview(rounds.to_bytes(4, "little") * 1024)
            for at in range(20):
                server.write(data, page, (writer * 20 + at) * 4096)
        return [rounds] * 20

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, writer) for writer in range(4)]
        try:
            for _ in range(5):
                server.start(journal_settings(files))
                assert mode(server) is AcquisitionMode.JOURNAL
                wait_until(lambda: journaled(server).appender.sequence > journaled(server).destager.checkpoint.sequence)
                server.stop()
                assert mode(server) is AcquisitionMode.DIRECT
                files.confirm_all()
        finally:
            ended.set()
        last = [value for writer in writers for value in writer.result(30)]
    expected = b"".join(value.to_bytes(4, "little") * 1024 for value in last)
    assert read(server, data, 0, len(expected)) == expected
    server.close()
    assert files.volume("data").read_bytes()[: len(expected)] == expected


def test_start_again_is_no_error_another_journal_is(server: WritePath, files: GroupFiles) -> None:
    server.start(journal_settings(files))
    other = journal_settings(files).model_copy(update={"path": "/elsewhere"})
    with pytest.raises(ConflictError):
        server.start(other)


def test_a_start_that_fails_leaves_direct_writes_going(tmp_path: Path) -> None:
    files = GroupFiles(tmp_path, {"data": MIB}).create()
    server = WritePath.open(files.settings)
    with pytest.raises(NotFoundError):
        server.start(JournalSettings.model_validate(files.journal_document))
    server.write(server.volumes["data"], PAGE, 0)
    assert mode(server) is AcquisitionMode.DIRECT
    server.close()


def test_a_journal_that_the_volumes_were_written_past_is_refused(files: GroupFiles) -> None:
    server = WritePath.open(files.settings)
    server.write(server.volumes["data"], PAGE, 0)
    journaled(server).close()  # killed
    for volume in server.volumes.values():
        volume.backing.close()
    direct = WritePath.open(ServerSettings.model_validate(files.document | {"journal": None}))
    with pytest.raises(ConflictError, match="holds 1 journals"):
        direct.start(journal_settings(files))
    direct.close()


def test_acquisition_off_at_the_start_brings_the_rest_to_the_stores(files: GroupFiles) -> None:
    server = WritePath.open(files.settings)
    server.write(server.volumes["data"], PAGE, 0)
    journaled(server).close()  # killed
    for volume in server.volumes.values():
        volume.backing.close()
    files.acquire = False
    server = WritePath.open(files.settings)
    assert mode(server) is AcquisitionMode.DIRECT
    assert files.volume("data").read_bytes()[:4096] == PAGE
    server.close()


# refusals


def test_a_second_server_is_refused(server: WritePath, files: GroupFiles) -> None:
    with pytest.raises(ConflictError, match="in use"):
        WritePath.open(files.settings)
    other = files.document | {"volumes": []}
    other["volumes"] = [files.document["volumes"][0] | {"path": str(files.directory / "other")}]
    (files.directory / "other").write_bytes(bytes(8 * MIB))
    with pytest.raises(ConflictError, match="is in use by another process"):
        WritePath.open(ServerSettings.model_validate(other))


def test_a_refused_open_leaves_nothing_locked(files: GroupFiles) -> None:
    journal = JournalVolume.open(str(files.journal), writable=True)
    with pytest.raises(ConflictError):
        WritePath.open(files.settings)
    journal.close()
    WritePath.open(files.settings).close()


def test_confirmed_beyond_the_tail_is_damage(files: GroupFiles) -> None:
    page = PointerPage.open(str(files.pointers))
    page.publish(Pointer.CONFIRMED, Position(5, 40, 1))
    page.close()
    with pytest.raises(IntegrityError, match="confirmed up to 5"):
        WritePath.open(files.settings)


def test_generation_is_raised_before_the_first_write_and_never_lowered(files: GroupFiles) -> None:
    document = files.document
    document["journal"]["generation"] = 3
    server = WritePath.open(ServerSettings.model_validate(document))
    server.write(server.volumes["data"], PAGE, 0)
    journal = journaled(server).journal
    assert (journal.header.generation, journal.records(1, 1)["generation"].tolist()) == (3, [3])
    server.close()
    with pytest.raises(ConflictError, match="lower"):
        WritePath.open(files.settings)


@pytest.mark.parametrize(("offset", "count"), [(1, 512), (512, 100), (0, 0), (0, REQUEST_BYTES_MAX + 512)])
def test_requests_that_are_no_blocks_are_refused(tmp_path: Path, offset: int, count: int) -> None:
    files = GroupFiles(tmp_path, {"data": 64 * MIB}).create()
    server = WritePath.open(files.settings)
    data = server.volumes["data"]
    with pytest.raises(UsageError):
        server.write(data, memoryview(bytes(count)), offset)
    with pytest.raises(UsageError):
        server.read(data, memoryview(bytearray(count)), offset)
    server.close()


def test_a_volume_that_is_not_writable_refuses_writes_and_takes_them_again(server: WritePath) -> None:
    data = server.volumes["data"]
    server.set_writable("data", False)
    with pytest.raises(ConflictError):
        server.write(data, PAGE, 0)
    with pytest.raises(ConflictError):
        server.trim(data, 0, 4096)
    with pytest.raises(ConflictError):
        server.zero(data, 0, 4096, may_trim=True)
    server.write(server.volumes["log"], PAGE, 0)
    server.set_writable("data", True)
    server.write(data, PAGE, 0)
    with pytest.raises(NotFoundError):
        server.set_writable("nothing", True)


# disks that refuse


def expect_failed(server: WritePath, words: str) -> None:
    data = server.volumes["data"]
    assert mode(server) is AcquisitionMode.FAILED
    assert words in server.status()["failure"]["message"]
    with pytest.raises(PairvolError):
        server.write(data, PAGE, 0)
    with pytest.raises(PairvolError):
        server.trim(data, 0, 4096)
    with pytest.raises(PairvolError):
        server.flush(data)


def test_a_failed_journal_sync_stays_failed(server: WritePath, monkeypatch: pytest.MonkeyPatch) -> None:
    data = server.volumes["data"]
    path = journaled(server)
    with monkeypatch.context() as broken:
        broken.setattr(path.commit, "_sync", refuse)
        with pytest.raises(StorageError):
            server.write(data, PAGE, 0, fua=True)
    expect_failed(server, "sync of the journal failed")
    assert read(server, data, 0, 4096) == PAGE, "reads go on"


def refuse_writes(file: int, path: str) -> None:
    """Put a read-only descriptor in the place of one that is written through: the kernel refuses from now on."""
    readonly = os.open(path, os.O_RDONLY)
    os.dup2(readonly, file, inheritable=False)
    os.close(readonly)


def test_a_failed_journal_write_stays_failed(server: WritePath) -> None:
    journal = journaled(server).journal
    refuse_writes(journal.file, journal.path)
    with pytest.raises(StorageError):
        server.write(server.volumes["data"], PAGE, 0)
    expect_failed(server, "cannot write to the journal")


@pytest.mark.parametrize("call", ["write", "sync"])
def test_a_store_that_refuses_keeps_every_write_in_the_journal(
    files: GroupFiles, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = WritePath.open(files.settings)
    data = server.volumes["data"]
    server.write(data, PAGE, 0)
    with monkeypatch.context() as broken:
        if call == "sync":
            broken.setattr(data.backing, "sync", refuse)
        else:
            refuse_writes(data.backing.file, data.backing.path)
        with pytest.raises(StorageError):
            server.checkpoint()
    expect_failed(server, "backing store")
    server.close()
    server = WritePath.open(files.settings)
    assert files.volume("data").read_bytes()[:4096] == PAGE
    server.close()


def test_a_failed_sync_of_a_direct_volume_stays_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = GroupFiles(tmp_path, {"data": MIB}).create()
    server = WritePath.open(files.settings)
    data = server.volumes["data"]
    with monkeypatch.context() as broken:
        broken.setattr(data.backing, "sync", refuse)
        with pytest.raises(StorageError):
            server.flush(data)
    expect_failed(server, "sync of")
    server.close()


def test_a_full_disk_fails_the_request_and_not_the_volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "full")

    files = GroupFiles(tmp_path, {"data": MIB}).create()
    server = WritePath.open(files.settings)
    data = server.volumes["data"]
    with monkeypatch.context() as broken:
        broken.setattr(data.backing, "pwrite", full)
        with pytest.raises(OSError, match="full"):
            server.write(data, PAGE, 0)
    server.write(data, PAGE, 0)
    assert mode(server) is AcquisitionMode.DIRECT
    server.close()


def test_a_mark_that_cannot_be_made_durable_keeps_the_data_from_being_written(
    files: GroupFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.full_wait_seconds = 0.1
    server = WritePath.open(files.settings)
    fill(server)
    path = server._path
    assert isinstance(path, DirectPath)
    assert path.dirty is not None
    data = server.volumes["data"]
    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", refuse)
        with pytest.raises(StorageError):
            server.write(data, PAGE, 6 * MIB)
    assert read(server, data, 6 * MIB, 4096) == bytes(4096)
    expect_failed(server, "dirty map")
    server.close()


# order


def test_a_record_describes_its_write(server: WritePath) -> None:
    log = server.volumes["log"]
    before = time.time_ns()
    server.write(log, PAGE, 8192)
    server.trim(log, 4096, 4096)
    server.zero(log, 0, 512, may_trim=False)
    records = journaled(server).journal.records(1, 3)
    assert records["sequence"].tolist() == [1, 2, 3]
    assert records["volume"].tolist() == [1, 1, 1]
    assert records["volume_lba"].tolist() == [16, 8, 0]
    assert records["block_count"].tolist() == [8, 8, 1]
    assert records["data_blocks"].tolist() == [8, 0, 0]
    assert records["flags"].tolist() == [0, Flag.TRIM, Flag.ZERO]
    assert before <= records["time_ns"][0] < records["time_ns"][1] < records["time_ns"][2]


def test_a_write_longer_than_the_ring_takes_is_cut(server: WritePath) -> None:
    data = server.volumes["data"]
    long = memoryview(os.urandom(600 * 1024))
    server.write(data, long, 4096)
    assert read(server, data, 4096, len(long)) == long
    assert journaled(server).appender.sequence > 1
