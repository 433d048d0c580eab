"""Files of JSON lines that only grow.

Owns what a crash may leave: a last line that is cut. The next line begins
after it, and readers pass it over. Knows nothing of what the lines say. One
writer at a time.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from controller import durable


def append_line(path: Path, line: str, *, synced: bool = True) -> int:
    """Add a line, durably if `synced`; how long the file then is.

    StorageError, DiskFullError when the disk refuses: the line is taken back,
    so that who reads the file before it is given again does not find it there.
    One that is not synced outlives the process, not the machine.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if synced:  # each time: whoever made the file may have died, or failed, before its name was durable
                durable.sync_directory(path.parent)
            return _append(descriptor, line.encode(), synced)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise durable.refused(path, error) from error


def _append(descriptor: int, line: bytes, synced: bool) -> int:
    size = os.fstat(descriptor).st_size
    cut = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
    content = (b"\n" if cut else b"") + line + b"\n"
    try:
        if os.write(descriptor, content) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if synced:
            os.fsync(descriptor)
    except OSError:
        with suppress(OSError):
            os.ftruncate(descriptor, size)
        raise
    return size + len(content)


def parsed_lines(path: Path) -> Iterator[Any]:
    """Every whole line, oldest first; nothing when there is no file."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    for line in content.splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue
