"""Acquisition begun and ended under load; starts, servers and requests that are refused."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from msgspec import structs

from controller.api.models import AcquisitionMode
from controller.errors import ConflictError, IntegrityError, NotFoundError, UsageError
from controller.journal.pointers import Pointer, PointerPage, Position
from controller.journal.volume import JournalVolume
from controller.volume.requests import REQUEST_BYTES_MAX
from controller.volume.settings import parse_journal, parse_server
from controller.volume.write_path import WritePath
from tests.support.volume_server import GroupFiles
from tests.support.waiting import wait_until
from tests.unit.volume.parts import MIB, PAGE, journal_settings, journaled, mode, read

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
    other = structs.replace(journal_settings(files), path="/elsewhere")
    with pytest.raises(ConflictError):
        server.start(other)


def test_a_start_that_fails_leaves_direct_writes_going(tmp_path: Path) -> None:
    files = GroupFiles(tmp_path, {"data": MIB}).create()
    server = WritePath.open(files.settings)
    with pytest.raises(NotFoundError):
        server.start(parse_journal(files.journal_document))
    server.write(server.volumes["data"], PAGE, 0)
    assert mode(server) is AcquisitionMode.DIRECT
    server.close()


def test_a_journal_that_the_volumes_were_written_past_is_refused(files: GroupFiles) -> None:
    server = WritePath.open(files.settings)
    server.write(server.volumes["data"], PAGE, 0)
    journaled(server).close()  # killed
    for volume in server.volumes.values():
        volume.backing.close()
    direct = WritePath.open(parse_server(files.document | {"journal": None}))
    with pytest.raises(ConflictError, match="holds 1 journal that"):
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
        WritePath.open(parse_server(other))


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
    server = WritePath.open(parse_server(document))
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
