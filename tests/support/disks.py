"""Disks that refuse one thing, by what the process asks of the system."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def directory_sync_fails(monkeypatch: pytest.MonkeyPatch, times: int | None = None, after: int = 0) -> Iterator[None]:
    """Within this syncs of directories fail, so many of them (None: all) `after` others; files are synced as ever."""
    sync, met = os.fsync, 0

    def fail(file: int) -> None:
        nonlocal met
        if stat.S_ISDIR(os.fstat(file).st_mode):
            met += 1
            if met > after and (times is None or met <= after + times):
                raise OSError(errno.EIO, "Input/output error")
        sync(file)

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fail)
        yield


def file_sync_fails(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk refuses to sync that file."""
    sync = os.fdatasync

    def fail(file: int) -> None:
        if os.path.samestat(os.fstat(file), path.stat()):
            raise OSError(errno.EIO, "Input/output error")
        sync(file)

    monkeypatch.setattr(os, "fdatasync", fail)
