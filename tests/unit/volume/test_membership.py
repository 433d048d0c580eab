"""Volumes join a serving group and leave it; what a server finds again that died in between."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.api.models import SuspendedCause
from controller.errors import ConflictError
from controller.journal.markers import parse_marker
from controller.journal.volume import JournalVolume
from controller.volume.dirty import DirtyMap, head_of
from controller.volume.dirty_file import MapState
from controller.volume.membership import Membership
from controller.volume.settings import ServerSettings, VolumeSettings, parse_server
from controller.volume.write_path import WritePath
from tests.support.volume_server import GroupFiles
from tests.unit.volume.test_modes import kill

MIB = 1 << 20


@pytest.fixture
def files(tmp_path: Path) -> GroupFiles:
    return GroupFiles(tmp_path, {"data": 4 * MIB, "log": 3 * MIB}, 2 * MIB).create()


def told(files: GroupFiles, *names: str) -> ServerSettings:
    document = files.document
    document["volumes"] = [volume for volume in document["volumes"] if volume["name"] in names]
    return parse_server(document)


def log_of(files: GroupFiles) -> VolumeSettings:
    return files.settings.volumes[1]


@pytest.fixture
def server(files: GroupFiles) -> Iterator[WritePath]:
    server = WritePath.open(told(files, "data"))
    yield server
    server.close()


def write(server: WritePath, name: str, value: int) -> None:
    server.write(server.volumes[name], memoryview(bytes([value]) * 4096), 0)


def read(server: WritePath, name: str) -> int:
    found = bytearray(4096)
    server.read(server.volumes[name], memoryview(found), 0)
    assert found == bytes([found[0]]) * 4096
    return found[0]


def marks(files: GroupFiles) -> dict[int, list[tuple[int, int]]]:
    found = DirtyMap.open(str(files.dirty_map), files.uuid)
    found.close()
    assert found.head.state is MapState.RESYNC
    return {index: list(found.regions(index)) for index in (0, 1)}


def last_marker(files: GroupFiles, sequence: int) -> str:
    journal = JournalVolume.open(str(files.journal), writable=False)
    record = journal.records(sequence, sequence)[0]
    view = journal.data_views(int(record["data_position"]), int(record["data_blocks"]))[0]
    payload = bytes(view)
    view.release()
    journal.close()
    return str(parse_marker(payload)["what"])


def test_what_joins_is_marked_whole_before_its_first_journal(server: WritePath, files: GroupFiles) -> None:
    write(server, "data", 1)
    [log] = server.join([log_of(files)])
    assert server.join([log_of(files)]) == []
    assert marks(files) == {0: [], 1: [(0, 3 * MIB)]}
    assert last_marker(files, 2) == "resumed"
    write(server, "log", 2)
    write(server, "data", 3)
    assert server.mode == "journal"
    assert server.flush_all().sequence == 4
    assert (read(server, "log"), read(server, "data")) == (2, 3)
    with pytest.raises(ConflictError, match="changed regions are not copied"):
        server.leave(["log"])
    assert log.size_bytes == 3 * MIB


@pytest.mark.parametrize("told_names", [("data",), ("data", "log")])
def test_a_server_that_died_after_it_marked_takes_on_without_a_new_set(
    files: GroupFiles, told_names: tuple[str, ...]
) -> None:
    server = WritePath.open(told(files, "data"))
    write(server, "data", 1)
    server.join([log_of(files)])
    kill(server)
    before = head_of(str(files.dirty_map), files.uuid)
    server = WritePath.open(told(files, *told_names))
    assert [volume.name for volume in server.join([log_of(files)])] == (["log"] if told_names == ("data",) else [])
    write(server, "log", 4)
    assert marks(files)[1] == [(0, 3 * MIB)]
    assert head_of(str(files.dirty_map), files.uuid) == before
    server.close()
    assert files.volume("log").read_bytes()[:4096] == b"\4" * 4096


def test_a_death_between_map_and_marker_writes_the_marker_first(
    files: GroupFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = WritePath.open(told(files, "data"))
    write(server, "data", 1)
    monkeypatch.setattr(Membership, "_mark_resumed", lambda *_: None)
    server.join([log_of(files)])
    monkeypatch.undo()
    kill(server)
    server = WritePath.open(told(files, "data", "log"))
    assert server.status()["appended"]["sequence"] == 2
    assert last_marker(files, 2) == "resumed"
    server.close()


def test_a_map_that_cannot_be_stored_leaves_the_group_as_it_was(
    server: WritePath, files: GroupFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(server, "data", 1)

    def refuse(*_: object, **__: object) -> None:
        raise ConflictError("no map")

    monkeypatch.setattr(DirtyMap, "create", refuse)
    with pytest.raises(ConflictError, match="no map"):
        server.join([log_of(files)])
    monkeypatch.undo()
    assert list(server.volumes) == ["data"]
    write(server, "data", 2)
    assert len(server.join([log_of(files)])) == 1


def test_what_left_is_whole_in_its_store_and_in_no_journal_since(files: GroupFiles) -> None:
    server = WritePath.open(files.settings)
    for value in range(1, 20):
        write(server, "log", value)
        write(server, "data", value)
    position = server.leave(["log"])
    assert position.sequence == 38
    assert server.leave(["log"]).sequence == 38  # given again
    assert files.volume("log").read_bytes()[:4096] == b"\x13" * 4096
    with pytest.raises(ConflictError, match="the last volume"):
        server.leave(["data"])
    write(server, "data", 77)
    kill(server)
    server = WritePath.open(told(files, "data"))  # its replay meets no journal of the other
    assert read(server, "data") == 77
    server.close()


def test_nobody_joins_or_leaves_while_suspended(server: WritePath, files: GroupFiles) -> None:
    server.suspend(SuspendedCause.OPERATOR)
    with pytest.raises(ConflictError, match="no journal is written"):
        server.join([log_of(files)])
    with pytest.raises(ConflictError, match="the last volume"):
        server.leave(["data"])
    assert list(server.volumes) == ["data"]
