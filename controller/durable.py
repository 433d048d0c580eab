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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from controller.errors import DiskFullError, IntegrityError, NotDurableError, NotFoundError, StorageError

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
    room; the old document is then intact. NotDurableError as of `replace`.
    """
    write_bytes(path, json.dumps(document, indent=1, sort_keys=True).encode() + b"\n")


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Replace the file at `path` by `content`; durable when this returns. Errors as of `replace`."""
    os.close(replace(path, content))


def replace(path: str | os.PathLike[str], content: bytes) -> int:
    """Replace the file at `path` by `content`; the new file, open for reading and writing, durable under its name.

    StorageError: nothing was changed. NotDurableError: the new file has the
    name, and which of the two a power cut leaves is not known.
    """
    target = Path(path)
    # The process id keeps writers of two processes from tearing each other's temporary.
    temporary = target.with_name(f".{target.name}.{os.getpid()}.new")
    file = -1
    try:
        file = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        _write_all(file, content)
        os.fsync(file)
        os.rename(temporary, target)
    except BaseException as error:
        if file >= 0:
            os.close(file)
        with suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise refused(target, error) from error
        raise
    try:
        sync_directory(target.parent)
    except OSError as error:
        os.close(file)
        raise _not_durable("replace", target, error) from error
    return file


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
        raise refused(Path(path), error) from error


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
    except (ValueError, RecursionError) as error:
        raise IntegrityError(
            f"document {path} is not JSON: {error}",
            hint="Nothing was changed; put back a copy of that file or ask for help.",
            path=str(path),
        ) from error


@contextmanager
def refusals(what: str | os.PathLike[str]) -> Iterator[None]:
    """Within this, a file system that refuses is a StorageError which names the file, or `what`."""
    try:
        yield
    except OSError as error:
        kind = DiskFullError if error.errno in FULL else StorageError
        path = os.fsdecode(error.filename or what)
        raise kind(
            f"cannot use {path}: {(error.strerror or str(error)).lower()}", hint=hint_for(error), path=path
        ) from error


def sync_directory(path: str | os.PathLike[str]) -> None:
    """Make names created, renamed or removed in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: str | os.PathLike[str]) -> None:
    """Remove a file, durably; one that is not there is no error.

    The directory is synced in either case: who removed it may have failed, or
    died, before that. StorageError: it is still there. NotDurableError: it is
    gone, and a power cut may bring it back.
    """
    target = Path(path)
    try:
        with suppress(FileNotFoundError):
            os.unlink(target)
    except OSError as error:
        words = f"cannot remove {target}: {os.strerror(error.errno or 0).lower()}"
        raise StorageError(words, hint=hint_for(error), path=str(target)) from error
    try:
        with suppress(FileNotFoundError):  # without the directory there is no name in it
            sync_directory(target.parent)
    except OSError as error:
        raise _not_durable("remove", target, error) from error


def refused(path: str | os.PathLike[str], error: OSError) -> StorageError:
    """What to raise when the disk refused to write a file, of which nothing was changed."""
    kind = DiskFullError if error.errno in FULL else StorageError
    words = f"cannot write {path}: {os.strerror(error.errno or 0).lower()}"
    return kind(words, hint=hint_for(error), path=str(path))


def _not_durable(doing: str, path: Path, error: OSError) -> NotDurableError:
    return NotDurableError(
        f"cannot {doing} {path} durably: sync of its directory: {os.strerror(error.errno or 0).lower()}",
        hint="It may be done after the next start, or not. Look at the health of that disk, then give the order again.",
        path=str(path),
    )


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
