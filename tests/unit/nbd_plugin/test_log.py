"""A log into which every refused request writes a line does not fill the disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from nbd_plugin.log import CUT, Log

LINE = b"nbdkit: data[1]: error: pwrite: the journal volume failed: input/output error\n"
BYTES_MAX = 4096


@pytest.fixture
def appending(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    yield descriptor
    os.close(descriptor)


def test_it_stays_small_keeps_how_it_began_and_says_so(appending: int, tmp_path: Path) -> None:
    log = Log(appending, BYTES_MAX, 4)
    os.write(appending, b"the first line\n")
    for _ in range(1000):
        log.grows()
        os.write(appending, LINE)
        assert os.fstat(appending).st_size < BYTES_MAX + 5 * len(LINE)
    content = (tmp_path / "log").read_bytes()
    assert content.startswith(b"the first line\n" + LINE)
    assert CUT in content
    assert content.endswith(LINE)


def test_a_small_log_is_left_alone(appending: int, tmp_path: Path) -> None:
    log = Log(appending, BYTES_MAX, 1)
    for _ in range(20):
        log.grows()
        os.write(appending, LINE)
    assert (tmp_path / "log").read_bytes() == LINE * 20


def test_what_is_no_file_is_left_alone() -> None:
    reading, writing = os.pipe()
    try:
        log = Log(writing, 0, 1)
        os.write(writing, LINE)
        log.grows()
        assert os.read(reading, 4096) == LINE
    finally:
        os.close(reading)
        os.close(writing)
