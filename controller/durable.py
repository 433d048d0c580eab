"""Documents that survive power loss: replaced whole, or not at all.

Owns the one way in which this project writes a small file that must not be
torn: a temporary beside it, fsync, rename, fsync of the directory. Knows
nothing of what is in the document. Safe between processes (the rename is the
commit); two writers of one path must agree among themselves who writes.
"""

from __future__ import annotations

import errno
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from controller.errors import DiskFullError, IntegrityError, NotFoundError, StorageError

FULL: Final = (errno.ENOSPC, errno.EDQUOT)


def hint_for(error: OSError) -> str:
    """What to do about a file that cannot be read or written."""
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"Give the user that this program runs as (uid {os.geteuid()}) the rights to that path."
    if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
        return "Something else is at that path: move it away, or choose another."
    if error.errno == errno.EROFS:
        return "Mount that file system for writing; after an error of its disk it may have gone read-only by itself."
    if error.errno in FULL:
        return "Free some space on that file system and give the command again; nothing was changed."
    return "Look at free space and at the health of that disk."


def write_json(path: str | os.PathLike[str], document: Any) -> None:
    """Replace the JSON document at `path`; durable when this returns.

    Raises StorageError when the disk refuses, DiskFullError when it has no
    room; the old document is then intact.
    """
    write_bytes(path, json.dumps(document, indent=1, sort_keys=True).encode() + b"\n")


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Replace the file at `path` by `content`; durable when this returns."""
    target = Path(path)
    # The process id keeps writers of two processes from tearing each other's temporary.
    temporary = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write_all(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, target)
        sync_directory(target.parent)
    except OSError as error:
        with suppress(OSError):
            os.unlink(temporary)
        raise _refused(target, error) from error


def rewrite_json(path: str | os.PathLike[str], document: Any) -> None:
    """Write a small document into the room that an earlier one has: not durable, and only for what a crash may tear.

    So it can be written on a disk that is full. NotFoundError when there was none.
    """
    content = json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"
    try:
        with open(path, "r+b", buffering=0) as file:
            length = os.fstat(file.fileno()).st_size
            _write_all(file.fileno(), content.ljust(length))
    except FileNotFoundError as error:
        raise NotFoundError(f"no document at {path}", path=str(path)) from error
    except OSError as error:
        raise _refused(Path(path), error) from error


def read_json(path: str | os.PathLike[str]) -> Any:
    """The JSON document at `path`; NotFoundError when there is none, IntegrityError when it is damaged."""
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise NotFoundError(f"no document at {path}", path=str(path)) from error
    except OSError as error:
        raise StorageError(
            f"cannot read {path}: {os.strerror(error.errno or 0).lower()}", hint=hint_for(error), path=str(path)
        ) from error
    try:
        return json.loads(content)
    except ValueError as error:
        raise IntegrityError(
            f"document {path} is not JSON: {error}",
            hint="Nothing was changed; put back a copy of that file or ask for help.",
            path=str(path),
        ) from error


def sync_directory(path: str | os.PathLike[str]) -> None:
    """Make names created, renamed or removed in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: str | os.PathLike[str]) -> None:
    """Remove a file, durably; one that is not there is no error."""
    with suppress(FileNotFoundError):
        os.unlink(path)
        sync_directory(Path(path).parent)


def _refused(path: Path, error: OSError) -> StorageError:
    kind = DiskFullError if error.errno in FULL else StorageError
    words = f"cannot write {path}: {os.strerror(error.errno or 0).lower()}"
    return kind(words, hint=hint_for(error), path=str(path))


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
