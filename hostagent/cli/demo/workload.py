"""What the demonstration writes to the mounted volume, and the log of what was acknowledged.

Owns the tree copy, the numbered records and the logs of both. It runs as
processes of its own (`python -m hostagent.cli.demo.workload`), so that a dead
block device can hang a writer, never the demonstration; it therefore imports
nothing but the standard library. The logs lie outside the volume: a line is
written after the sync that it speaks of has returned.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import math
import os
import stat
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

RECORD_BYTES: Final = 4096
RECORD_MAGIC: Final = b"pairvol-record\n\0"
RECORD_FILES: Final = 8  # records go round these files, so that order across files is put to the test too
BATCH_BYTES: Final = 8 << 20
BATCH_SECONDS: Final = 0.5
FILE_BYTES_MAX: Final = 16 << 20
LOAD_BYTES_MAX: Final = 192 << 20
LOAD_BLOCK_BYTES: Final = 512 << 10
LOAD_PAUSE_SECONDS: Final = 0.02


@dataclass(frozen=True)
class TreeFile:
    """One file of the tree, and its place below the mount point."""

    source: str
    place: str
    size_bytes: int


@dataclass(frozen=True)
class SyncedFile:
    """A file that was durable at `time_ns`, with the BLAKE2b of what was written."""

    place: str
    size_bytes: int
    digest: str
    time_ns: int


# -- the tree ------------------------------------------------------------------


def plan_tree(bytes_max: int, files_max: int) -> list[TreeFile]:
    """This machine's Python library, then its documentation, up to the limits."""
    library = Path(sysconfig.get_paths()["stdlib"])
    sources = [library, Path("/usr/lib/python3"), Path("/usr/share/doc"), Path("/usr/share/man"), Path("/usr/share")]
    plan: list[TreeFile] = []
    seen: set[str] = set()
    room = bytes_max
    # The library must leave room for the documentation: half of the bytes each.
    for source in sources:
        share = bytes_max // 2 if source == library else room
        for path, size in _regular_files(source):
            if len(plan) >= files_max:
                return plan
            if path in seen or size > min(share, room, FILE_BYTES_MAX):
                continue
            seen.add(path)
            plan.append(TreeFile(path, path.lstrip("/"), size))
            share -= size
            room -= size
    return plan


def _regular_files(top: Path) -> Iterator[tuple[str, int]]:
    for directory, names, files in os.walk(top):
        names.sort()
        for name in sorted(files):
            path = os.path.join(directory, name)
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode) and os.access(path, os.R_OK):
                yield path, status.st_size


def copy_tree(plan: Sequence[TreeFile], mount: Path, log: Path, seconds: float = math.inf) -> None:
    """Copy files in order, syncing the file system every batch; a log line for each synced batch.

    Stops with the batch in which `seconds` are over: a slow machine writes less, it does not take longer.
    """
    made: set[str] = set()
    batch: list[tuple[str, int, str]] = []
    pending, since = 0, time.monotonic()
    end = since + seconds
    with log.open("a", encoding="utf-8") as lines, _opened_directory(mount) as volume:
        for number, file in enumerate(plan, start=1):
            batch.append(_copy_file(file, mount, made))
            pending += batch[-1][1]
            late = time.monotonic() - since > BATCH_SECONDS
            if pending >= BATCH_BYTES or late or number == len(plan):
                sync_file_system(volume)
                lines.write(json.dumps({"time_ns": time.time_ns(), "files": batch}) + "\n")
                lines.flush()
                batch, pending, since = [], 0, time.monotonic()
                if since > end:
                    return


@contextmanager
def _opened_directory(path: Path) -> Iterator[int]:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield directory
    finally:
        os.close(directory)


def _copy_file(file: TreeFile, mount: Path, made: set[str]) -> tuple[str, int, str]:
    target = mount / file.place
    parent = str(target.parent)
    if parent not in made:
        os.makedirs(parent, exist_ok=True)
        made.add(parent)
    data = Path(file.source).read_bytes()
    target.write_bytes(data)
    return file.place, len(data), digest(data)


def digest(data: bytes) -> str:
    """BLAKE2b of a file's content."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def sync_file_system(directory: int) -> None:
    """syncfs: everything written to that file system is durable when it returns."""
    if ctypes.CDLL(None, use_errno=True).syncfs(directory) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def synced_files(log: Path) -> list[SyncedFile]:
    """What the tree copy logged; a last line cut short is not an acknowledgement."""
    found = []
    for line in _whole_lines(log):
        batch = json.loads(line)
        found += [SyncedFile(place, size, content, batch["time_ns"]) for place, size, content in batch["files"]]
    return found


# -- numbered records ----------------------------------------------------------


def make_record(run: str, number: int) -> bytes:
    """Record `number` of a run: the same bytes whenever it is made, unlike any other's."""
    head = RECORD_MAGIC + number.to_bytes(8, "little")
    body = hashlib.shake_128(f"{run} {number}".encode()).digest(RECORD_BYTES - len(head))
    return head + body


def record_file(number: int) -> str:
    """The file below the mount point that record `number` is appended to."""
    return f"records/{number % RECORD_FILES}"


def write_records(run: str, mount: Path, log: Path) -> None:
    """Append records 1, 2, 3, ... each fsynced before the next is written; until something fails."""
    (mount / "records").mkdir(exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    files = [os.open(mount / "records" / str(index), flags, 0o644) for index in range(RECORD_FILES)]
    for file in files:
        os.fsync(file)
    acknowledged = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    number = 1
    while True:
        file = files[number % RECORD_FILES]
        os.write(file, make_record(run, number))
        os.fsync(file)
        os.write(acknowledged, f"{number} {time.time_ns()}\n".encode())
        number += 1


def acknowledged_records(log: Path) -> dict[int, int]:
    """Record number -> the time at which its fsync had returned."""
    pairs = (line.split() for line in _whole_lines(log))
    return {int(number): int(time_ns) for number, time_ns in pairs}


# -- background load -----------------------------------------------------------


def write_load(mount: Path) -> None:
    """Keep the link busy with bulk data that nobody claims to have synced; pauses leave room for the records."""
    block = os.urandom(LOAD_BLOCK_BYTES)
    with (mount / "load").open("wb", buffering=0) as file:
        while True:
            file.write(block)
            os.fdatasync(file.fileno())
            if file.tell() >= LOAD_BYTES_MAX:
                file.seek(0)
            time.sleep(LOAD_PAUSE_SECONDS)


def _whole_lines(log: Path) -> list[str]:
    if not log.exists():
        return []
    return log.read_text(encoding="utf-8").split("\n")[:-1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one writer until it is done or the volume fails (exit code 1)."""
    parser = argparse.ArgumentParser(prog="workload")
    parser.add_argument("job", choices=("tree", "records", "load"))
    parser.add_argument("mount", type=Path)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--plan", type=Path, help="tree: JSON list of [source, place, size]")
    parser.add_argument("--seconds", type=float, default=math.inf, help="tree: stop after that many")
    parser.add_argument("--run", default="", help="records: the name of this run")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.job == "tree":
            plan = [TreeFile(*entry) for entry in json.loads(chosen.plan.read_text())]
            copy_tree(plan, chosen.mount, chosen.log, chosen.seconds)
        elif chosen.job == "records":
            write_records(chosen.run, chosen.mount, chosen.log)
        else:
            write_load(chosen.mount)
    except OSError as error:
        print(f"{chosen.job}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
