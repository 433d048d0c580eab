"""Journal first, what a record says, and a full journal: on real files, in this process."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from controller.api.models import AcquisitionMode
from controller.errors import ConflictError, StorageError
from controller.journal.layout import Flag
from controller.journal.pointers import Pointer, PointerPage, Position
from controller.volume import dirty
from controller.volume.settings import parse_server
from controller.volume.write_path import WritePath
from tests.support.volume_server import GroupFiles
from tests.support.waiting import wait_until
from tests.unit.volume.parts import MIB, PAGE, fill, journal_settings, journaled, mode, read, write_pages

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
    # Space is given back right after whoever waited for the checkpoint is told of it.
    wait_until(lambda: journaled(server).destager.out.sequence == 1, 10, "the space to be free")


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
    server = WritePath.open(parse_server(document))
    with pytest.raises(StorageError):
        fill(server)
    assert mode(server) is AcquisitionMode.FAILED
    with pytest.raises(StorageError):
        server.write(server.volumes["data"], PAGE, 0)
    server.close()
