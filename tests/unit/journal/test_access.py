"""The compiled read against the plain one."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from controller.journal.access import read_at, read_plainly, write_pages

SIZE = 1 << 20


@pytest.fixture
def file(tmp_path: Path) -> int:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(SIZE))
    return os.open(path, os.O_RDWR | os.O_CLOEXEC)


@pytest.mark.parametrize("offset", [0, 512, 4095, SIZE - 100, SIZE, SIZE + 5])
@pytest.mark.parametrize("length", [1, 512, 4096, 32 * 1024, 100_000])
@pytest.mark.parametrize("cached", [True, False])
def test_both_read_the_same(file: int, offset: int, length: int, cached: bool) -> None:
    if not cached:
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    quick, plain = bytearray(length), bytearray(length)
    assert read_at(file, quick, offset) == read_plainly(file, plain, offset)
    assert quick == plain
    os.close(file)


def test_errors_are_those_of_the_system(file: int) -> None:
    os.close(file)
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        read_at(file, bytearray(512), 0)
    with pytest.raises((BufferError, TypeError)):
        read_at(0, b"not writable", 0)


def test_what_is_no_file_is_read_too() -> None:
    """RWF_NOWAIT is refused there."""
    zeros, held = os.open("/dev/zero", os.O_RDONLY), bytearray(b"x" * 512)
    assert (read_at(zeros, held, 0), held) == (512, bytearray(512))
    os.close(zeros)


@pytest.mark.parametrize(
    ("offset", "length", "free", "zeros"),
    [
        (0, 512, 4096, 3584),  # begins a page
        (0, 512, 3584, 3584),
        (0, 512, 3583, 0),  # something behind it is needed
        (512, 512, 8192, 0),  # the page was begun by another write
        (512, 3584, 8192, 0),  # ends with it
        (512, 4096, 8192, 3584),  # the next one is begun
        (4096, 4096, 8192, 0),
        (1536, 10 * 4096, 8192, 2560),
    ],
)
def test_a_page_is_filled_by_whoever_begins_it(file: int, offset: int, length: int, free: int, zeros: int) -> None:
    before = os.pread(file, SIZE, 0)
    write_pages(file, memoryview(b"x" * length), offset, free)
    end = offset + length
    assert os.pread(file, SIZE, 0) == before[:offset] + b"x" * length + bytes(zeros) + before[end + zeros :]
    os.close(file)
