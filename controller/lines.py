"""Files of JSON lines that only grow.

Owns what a crash may leave: a last line that is cut. The next line begins
after it, and readers pass it over. Knows nothing of what the lines say. One
writer at a time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from controller import durable
from controller.errors import StorageError


def append_line(path: Path, line: str, *, synced: bool = True) -> int:
    """Add a line, durably if `synced`; how long the file then is. StorageError when the disk refuses: it is not there.

    One that is not synced outlives the process, not the machine.
    """
    try:
        made = not path.exists()
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            cut = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            content = (b"\n" if cut else b"") + line.encode() + b"\n"
            try:
                if os.write(descriptor, content) != len(content):
                    raise StorageError(f"cannot write {path}: no space left on device", path=str(path))
                if synced:
                    os.fsync(descriptor)
                if synced and made:
                    durable.sync_directory(path.parent)
            except BaseException:
                _take_back(path, descriptor, size, made)
                raise
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {(error.strerror or str(error)).lower()}",
            hint="Look at free space and at the health of that disk.",
            path=str(path),
        ) from error
    return size + len(content)


def _take_back(path: Path, descriptor: int, size: int, made: bool) -> None:
    """A line that was refused must not be read from memory: who tries again would find it there, and not write it.

    A file whose name is not durable goes too, so that the next line makes it anew and syncs the name.
    """
    with suppress(OSError):
        os.ftruncate(descriptor, size)
        if made:
            os.unlink(path)


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
