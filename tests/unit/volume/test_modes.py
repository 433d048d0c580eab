"""Suspended and back: bits kept as the set of a differential copy, and a journal whose disk refuses. On real files."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from controller.api.models import AcquisitionMode, SuspendedCause
from controller.errors import CapacityError, ConflictError, PairvolError, StorageError
from controller.journal.layout import BLOCK_BYTES, Kind
from controller.journal.markers import parse_marker
from controller.journal.pointers import Pointer, PointerPage, Position
from controller.journal.volume import JournalVolume
from controller.volume.dirty import DirtyMap, head_of
from controller.volume.dirty_file import MapHead, MapState
from controller.volume.journaled import JournaledPath
from controller.volume.settings import JournalSettings, ServerSettings, parse_server
from controller.volume.write_path import WritePath
from tests.support.disks import file_sync_fails
from tests.support.volume_server import GroupFiles
from tests.support.waiting import wait_until

MIB = 1 << 20


@pytest.fixture
def files(tmp_path: Path) -> GroupFiles:
    return GroupFiles(tmp_path, {"data": 8 * MIB, "log": 2 * MIB}, MIB, full_wait_seconds=0.0).create()


@pytest.fixture
def server(files: GroupFiles) -> Iterator[WritePath]:
    server = WritePath.open(suspending(files))
    yield server
    server.close()


def suspending(files: GroupFiles) -> ServerSettings:
    document = files.document
    document["journal"]["on_error"] = "suspend"
    return parse_server(document)


def settings_of(files: GroupFiles) -> JournalSettings:
    settings = suspending(files).journal
    assert settings is not None
    return settings


def page(seed: int) -> memoryview:
    return memoryview(random.Random(seed).randbytes(4096))


def journaled(server: WritePath) -> JournaledPath:
    assert server._journaled is not None
    return server._journaled


def areas(files: GroupFiles, index: int = 0) -> list[tuple[int, int]]:
    marks = DirtyMap.open(str(files.dirty_map), files.uuid)
    marks.close()
    return list(marks.regions(index))


def head(files: GroupFiles) -> MapHead:
    found = head_of(str(files.dirty_map), files.uuid)
    assert found is not None
    return found


def mode_of(server: WritePath) -> AcquisitionMode:
    return server.mode


def read(server: WritePath, offset: int) -> bytes:
    found = bytearray(4096)
    server.read(server.volumes["data"], memoryview(found), offset)
    return bytes(found)


def kill(server: WritePath) -> None:
    """As kill -9 leaves it: nothing is brought to the stores, every file is let go of."""
    if server._journaled is not None:
        server._journaled.close()
    for volume in server.volumes.values():
        volume.backing.close()


def resume(server: WritePath, files: GroupFiles) -> Position:
    files.confirm_all()
    return server.resume(settings_of(files))


# suspended by order and back


def test_resume_continues_the_sequence_behind_a_marker_and_keeps_the_bits(server: WritePath, files: GroupFiles) -> None:
    data = server.volumes["data"]
    server.write(data, page(1), 0)
    server.suspend(SuspendedCause.OPERATOR)
    server.suspend(SuspendedCause.OPERATOR)
    assert mode_of(server) is AcquisitionMode.SUSPENDED
    server.write(data, page(2), 5 * MIB)
    before = head(files)
    assert (before.state, before.cause, before.position.sequence) == (MapState.SUSPENDED, SuspendedCause.OPERATOR, 2)

    assert resume(server, files).sequence == 3
    assert mode_of(server) is AcquisitionMode.JOURNAL
    after = head(files)
    assert (after.state, after.epoch, areas(files)) == (MapState.RESYNC, before.epoch, [(5 * MIB, MIB)])
    journal = journaled(server).journal
    told = []
    for marker in journal.records(2, 3):
        payload = bytes(journal.data_views(int(marker["data_position"]), int(marker["data_blocks"]))[0])
        assert int(marker["kind"]) == Kind.MARKER
        told.append(parse_marker(payload))
    assert told == [
        {"what": "suspended", "cause": "operator"},
        {"what": "resumed", "epoch": before.epoch, "sequence": 2},
    ]

    server.write(data, page(3), 6 * MIB, fua=True)
    assert areas(files) == [(5 * MIB, MIB)], "what is journaled is not in the set"
    assert server.resume(settings_of(files)).sequence == 4, "done twice it is done"
    server.clear_epoch(before.epoch)
    server.clear_epoch(before.epoch)
    assert not files.dirty_map.exists()
    assert server.status()["epoch"] is None


def test_only_the_epoch_in_force_is_cleared_and_only_while_journaling(server: WritePath, files: GroupFiles) -> None:
    data = server.volumes["data"]
    server.suspend(SuspendedCause.OPERATOR)
    server.write(data, page(1), 0)
    first = head(files).epoch
    with pytest.raises(ConflictError, match="suspended"):
        server.clear_epoch(first)
    resume(server, files)
    server.suspend(SuspendedCause.OPERATOR)
    server.write(data, page(2), 3 * MIB)
    resume(server, files)
    second = head(files)
    assert (second.epoch != first, areas(files)) == (True, [(0, MIB), (3 * MIB, MIB)])
    with pytest.raises(ConflictError, match="resync"):
        server.clear_epoch(first)
    server.clear_epoch(second.epoch)


@pytest.mark.parametrize("state", [MapState.SUSPENDED, MapState.RESYNC])
def test_a_killed_server_comes_up_as_it_was(files: GroupFiles, state: MapState) -> None:
    server = WritePath.open(suspending(files))
    data = server.volumes["data"]
    server.write(data, page(1), 0)
    server.suspend(SuspendedCause.OPERATOR)
    server.write(data, page(2), 0)
    if state is MapState.RESYNC:
        resume(server, files)
        server.write(data, page(3), MIB)
    kill(server)
    server = WritePath.open(suspending(files))
    assert head(files).state is state
    assert mode_of(server) is (AcquisitionMode.JOURNAL if state is MapState.RESYNC else AcquisitionMode.SUSPENDED)
    assert read(server, 0) == page(2), "a journal from before the suspension never comes over a direct write"
    if state is MapState.RESYNC:
        assert read(server, MIB) == page(3)
    server.close()


@pytest.mark.parametrize("journaled", [True, False], ids=["with a journal", "tracking only"])
def test_bits_are_durable_before_a_server_goes_by_them(
    files: GroupFiles, monkeypatch: pytest.MonkeyPatch, journaled: bool
) -> None:
    """The server before may have died, or met an error, between a bit and its sync."""
    server = WritePath.open(suspending(files))
    server.suspend(SuspendedCause.OPERATOR)
    server.write(server.volumes["data"], page(1), 0)
    kill(server)
    settings = suspending(files)
    if not journaled:
        tracking = {"group_uuid": files.uuid, "dirty_map": str(files.dirty_map)}
        settings = parse_server(files.document | {"journal": None, "tracking": tracking})
    with monkeypatch.context() as broken:
        file_sync_fails(files.dirty_map, broken)
        with pytest.raises(StorageError, match="cannot write dirty map"):
            WritePath.open(settings)
    server = WritePath.open(settings)
    server.write(server.volumes["data"], page(2), 0)
    server.close()


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "Too many open files"), MemoryError()])
def test_nobody_waits_at_the_gate_when_a_suspension_goes_wrong(
    server: WritePath, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> NoReturn:
        raise error

    server.write(server.volumes["data"], page(1), 0)
    with monkeypatch.context() as broken:
        broken.setattr(server, "_store_map", fail)
        with pytest.raises(type(error)):
            server.suspend(SuspendedCause.OPERATOR)
    assert mode_of(server) is AcquisitionMode.FAILED
    assert server.status()["failure"]["message"].startswith("cannot suspend: ")
    with pytest.raises(StorageError):
        server.write(server.volumes["data"], page(2), 0)


def test_a_crash_between_map_and_marker_writes_the_marker_first(files: GroupFiles) -> None:
    server = WritePath.open(suspending(files))
    server.suspend(SuspendedCause.OPERATOR)
    server.write(server.volumes["data"], page(1), 0)
    assert server._marks is not None
    server._marks.change(MapHead(server._marks.position, MapState.RESYNC, epoch=server._marks.head.epoch))
    kill(server)
    server = WritePath.open(suspending(files))
    record = journaled(server).journal.records(1, 1)[0]
    assert (int(record["sequence"]), int(record["kind"])) == (1, Kind.MARKER)
    server.close()


def test_resume_waits_for_room(server: WritePath, files: GroupFiles) -> None:
    data = server.volumes["data"]
    number = 0
    while mode_of(server) is AcquisitionMode.JOURNAL:
        server.write(data, page(number), number % 1024 * 4096)
        number += 1
    assert head(files).cause is SuspendedCause.FULL
    with pytest.raises(CapacityError, match="not confirmed"):
        server.resume(settings_of(files))
    assert mode_of(server) is AcquisitionMode.SUSPENDED
    server.write(data, page(0), 7 * MIB)
    resume(server, files)
    assert mode_of(server) is AcquisitionMode.JOURNAL


def test_tracking_without_a_journal_and_a_journal_from_there_on(files: GroupFiles) -> None:
    """As a group that was taken over: served with tracking, then promoted."""
    sizes = {0: 8 * MIB, 1: 2 * MIB}
    position = Position(41, 7, 99)
    page_ = PointerPage.open(str(files.pointers))
    for pointer in (Pointer.CHECKPOINT, Pointer.DURABLE, Pointer.JOURNAL_OUT, Pointer.JOURNAL_IN, Pointer.CONFIRMED):
        page_.publish(pointer, position)
    page_.close()
    DirtyMap.create(str(files.dirty_map), files.uuid, position, sizes, MapHead(cause=SuspendedCause.TAKEOVER)).close()
    tracking = {"group_uuid": files.uuid, "dirty_map": str(files.dirty_map)}
    server = WritePath.open(parse_server(files.document | {"journal": None, "tracking": tracking}))
    assert mode_of(server) is AcquisitionMode.SUSPENDED
    server.write(server.volumes["log"], page(1), 0)
    assert areas(files, 1) == [(0, MIB)]
    assert server.resume(settings_of(files)).sequence == 42
    server.write(server.volumes["log"], page(2), 4096)
    record = journaled(server).journal.records(43, 43)[0]
    assert (int(record["sequence"]), int(record["data_position"])) == (43, 8)
    server.close()


# a journal whose disk refuses


def refuse(*_: object) -> NoReturn:
    raise OSError(errno.EIO, "Input/output error")


def test_a_sync_that_failed_is_answered_by_the_stores_and_host_writes_go_on(
    server: WritePath, files: GroupFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = server.volumes["data"]
    server.write(data, page(1), 0, fua=True)
    files.confirm_all()
    server.checkpoint()
    server.write(data, page(2), 2 * MIB, fua=True)  # durable, not confirmed: in the set too, should the journal be lost
    path = journaled(server)
    with monkeypatch.context() as broken:
        broken.setattr(path.commit, "_sync", refuse)
        server.write(data, page(3), 4 * MIB, fua=True)
        assert mode_of(server) is AcquisitionMode.SUSPENDED
        server.flush(data)
    found = head(files)
    assert (found.cause, found.position.sequence) == (SuspendedCause.ERROR, path.commit.durable.sequence)
    assert areas(files) == [(2 * MIB, MIB), (4 * MIB, MIB)]
    assert "sync of the journal failed" in server.status()["failure"]["message"]
    server.write(data, page(4), 6 * MIB, fua=True)
    server.flush(data)
    assert [read(server, offset * MIB) for offset in (0, 2, 4, 6)] == [page(1), page(2), page(3), page(4)]
    assert files.volume("data").read_bytes()[4 * MIB : 4 * MIB + 4096] == page(3), "brought to the store"


def test_a_pointer_page_that_cannot_be_written_lets_host_writes_go_on(
    server: WritePath, files: GroupFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its space is not freed any more: the group gives up the journal, as for any other part of it."""
    data = server.volumes["data"]
    server.write(data, page(1), 0, fua=True)
    with monkeypatch.context() as broken:
        file_sync_fails(files.pointers, broken)
        server.checkpoint()  # of the stores
        server.write(data, page(2), MIB, fua=True)
        wait_until(lambda: mode_of(server) is AcquisitionMode.SUSPENDED, 10, "the group to be suspended")
        server.write(data, page(3), 2 * MIB, fua=True)
    assert head(files).cause is SuspendedCause.ERROR
    assert str(files.pointers) in server.status()["failure"]["message"]
    assert [read(server, offset * MIB) for offset in (0, 1, 2)] == [page(1), page(2), page(3)]
    resume(server, files)
    assert mode_of(server) is AcquisitionMode.JOURNAL


def test_when_the_stores_refuse_too_the_sync_that_failed_is_told(
    server: WritePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = server.volumes["data"]
    server.write(data, page(1), 0)
    monkeypatch.setattr(journaled(server).commit, "_sync", refuse)
    monkeypatch.setattr(data.backing, "sync", refuse)
    with pytest.raises(StorageError):
        server.flush(data)
    assert mode_of(server) is AcquisitionMode.FAILED
    with pytest.raises(StorageError):
        server.flush(data)


def test_a_journal_write_that_failed_is_tried_elsewhere_and_acknowledged(
    server: WritePath, files: GroupFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = server.volumes["data"]
    server.write(data, page(1), 0)
    path = journaled(server)
    monkeypatch.setattr(path.appender, "write", refuse)
    server.write(data, page(2), MIB)
    assert mode_of(server) is AcquisitionMode.SUSPENDED
    assert [read(server, 0), read(server, MIB)] == [page(1), page(2)]
    monkeypatch.undo()

    # The disk is mended: the sequence goes on after what was durable, whatever the journal still shows beyond it.
    durable = path.commit.durable.sequence
    assert resume(server, files).sequence == durable + 1
    assert areas(files) == [(0, 2 * MIB)]
    server.write(data, page(3), 2 * MIB, fua=True)
    records = journaled(server).journal.records(durable + 1, durable + 2)
    assert records["kind"].tolist() == [Kind.MARKER, Kind.UPDATE]


def test_draining_goes_on_after_a_kill(files: GroupFiles) -> None:
    """Killed between the map and the stores: what was acknowledged is still only in the journal."""
    server = WritePath.open(suspending(files))
    data = server.volumes["data"]
    server.write(data, page(1), 0, fua=True)
    server.write(data, page(2), MIB)
    path = journaled(server)
    draining = MapHead(state=MapState.DRAINING, cause=SuspendedCause.ERROR, note="sync of the journal failed")
    DirtyMap.create(
        str(files.dirty_map), files.uuid, path.commit.durable, {0: 8 * MIB, 1: 2 * MIB}, draining, {0: b"\x03"}
    ).close()
    path.destager.stop()
    kill(server)
    server = WritePath.open(suspending(files))
    assert (mode_of(server), head(files).state) == (AcquisitionMode.SUSPENDED, MapState.SUSPENDED)
    assert files.volume("data").read_bytes()[: MIB + 4096] == bytes(page(1)) + bytes(MIB - 4096) + bytes(page(2))
    assert server.status()["failure"]["message"] == "sync of the journal failed"
    server.close()


def test_what_the_journal_lost_before_it_was_drained_stops_everything(
    files: GroupFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = WritePath.open(suspending(files))
    data = server.volumes["data"]
    path = journaled(server)
    monkeypatch.setattr(path.commit, "_sync", refuse)
    server.write(data, page(1), 0)
    journal = path.journal
    (offset, _), *_ = journal.pieces(0, BLOCK_BYTES)
    os.pwrite(journal.file, b"\xff" * 512, offset)  # as a file system that drops pages it could not write
    with pytest.raises(PairvolError):
        server.flush(data)
    wait_until(lambda: mode_of(server) is AcquisitionMode.FAILED, 10, "the group to fail")
    assert "lost what it had taken" in server.status()["failure"]["message"]
    with pytest.raises(PairvolError):
        server.write(data, page(2), 0)


def test_a_suspended_group_serves_without_its_journal(files: GroupFiles) -> None:
    server = WritePath.open(suspending(files))
    server.suspend(SuspendedCause.OPERATOR)
    server.close()
    journal = JournalVolume.open(str(files.journal), writable=True)  # not to be had
    server = WritePath.open(suspending(files))
    server.write(server.volumes["data"], page(1), 0)
    assert mode_of(server) is AcquisitionMode.SUSPENDED
    with pytest.raises(ConflictError, match="in use"):
        server.resume(settings_of(files))
    server.write(server.volumes["data"], page(2), 0)
    journal.close()
    resume(server, files)
    assert mode_of(server) is AcquisitionMode.JOURNAL
    server.close()
