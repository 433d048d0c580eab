"""Disks that refuse: what failed stays failed, what was acknowledged is not lost."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import NoReturn

import pytest

from controller.api.models import AcquisitionMode
from controller.errors import PairvolError, StorageError
from controller.volume.direct import DirectPath
from controller.volume.write_path import WritePath
from tests.support.disks import file_sync_fails
from tests.support.volume_server import GroupFiles
from tests.support.waiting import wait_until
from tests.unit.volume.parts import MIB, PAGE, fill, journaled, mode, read, refuse


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


@pytest.mark.parametrize("call", ["write", "trim"])  # data and record, or a record alone
def test_a_failed_journal_write_stays_failed(server: WritePath, call: str) -> None:
    journal, data = journaled(server).journal, server.volumes["data"]
    refuse_writes(journal.file, journal.path)
    with pytest.raises(StorageError):
        server.write(data, PAGE, 0) if call == "write" else server.trim(data, 0, 4096)
    expect_failed(server, "cannot write to the journal")


def test_a_pointer_page_that_cannot_be_written_is_named(server: WritePath, monkeypatch: pytest.MonkeyPatch) -> None:
    server.write(server.volumes["data"], PAGE, 0)
    with monkeypatch.context() as broken:
        file_sync_fails(Path(journaled(server).pointers.path), broken)
        server.checkpoint()  # of the stores
        wait_until(lambda: mode(server) is AcquisitionMode.FAILED, 10, "the group to fail")
    expect_failed(server, f"cannot write pointer page {journaled(server).pointers.path}: input/output error")


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
