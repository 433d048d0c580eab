"""A small group in this process, and what tests of its write path do with it."""

from __future__ import annotations

import errno
from typing import NoReturn

from controller.api.models import AcquisitionMode
from controller.volume.host_path import ServedVolume
from controller.volume.journaled import JournaledPath
from controller.volume.settings import JournalSettings
from controller.volume.write_path import WritePath
from tests.support.volume_server import GroupFiles

MIB = 1 << 20
PAGE = memoryview(b"\xa5" * 4096)


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
