"""A volume server that cannot start: one line that names the file, a hint, no traceback; and the next start is well."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path

from crc32c import crc32c

from controller.errors import PairvolError
from controller.journal.layout import BLOCK_BYTES, HEADER_SLOT_LBAS
from controller.journal.volume import JournalVolume
from tests.crash.disk_errors.controllers import WITHOUT_RIGHTS
from tests.crash.disk_errors.primary import Case, work
from tests.crash.log_disk.disks import LogDisks
from tests.crash.powercut.history import History
from tests.crash.powercut.recording import JOURNAL_BYTES, VOLUME_BYTES, VOLUME_SECTORS, make_files
from tests.crash.powercut.two_sites import opened_group
from tests.crash.results import Row
from tests.crash.server import SiteFiles, VolumeServer
from tests.support.processes import Processes
from tests.support.waiting import wait_until

CASES = [
    *(
        Case(disk, what, number)
        for disk, what in (("journal", "flush"), ("pointers", "write"), ("pointers", "flush"), ("vol0", "write"))
        for number in (errno.EIO, errno.ENOSPC)
    ),
    Case("vol0", "flush", errno.EIO),
    Case("journal", "read", errno.EIO),
    Case("pointers", "read", errno.EIO),
]


def run_case(row: Row, processes: Processes, directory: Path, case: Case) -> None:
    """Work, die, start on a disk that fails, start on one that is well again."""
    base = make_files(directory / "base", 1)
    images = {"journal": base.journal, "pointers": base.pointers, "vol0": base.volumes[0]}
    disks = LogDisks(processes, directory, images)
    history = History(1, VOLUME_SECTORS)
    with disks.files() as paths:
        files = SiteFiles(paths["journal"], paths["pointers"], [paths["vol0"]], VOLUME_BYTES, directory / "dirty")
        with VolumeServer(processes, directory, files, name=directory.name) as server:
            server.start()
            work(server, history, random.Random(row.seed), 20)
            server.kill()
            words = [os.strerror(case.number).lower(), str(paths[case.disk])]
            with disks.failing(case.disk, case.what, case.number):
                _judge_refusal(row, f"start with {case}", server, words)
            server.start()
            server.stop()
        if [bytes(image) for image in history.images(20)] != [paths["vol0"].read_bytes()]:
            row.lose(f"start with {case}: the next start does not bring back what was flushed")


def _judge_refusal(row: Row, label: str, server: VolumeServer, words: list[str]) -> None:
    row.attempted += 1
    known = len(server.words())
    server.launch()
    wait_until(lambda: server.process.poll() is not None or server.pidfile.exists(), 20, f"{label}: an end")
    if server.process.poll() is None:
        server.kill()
        row.lose(f"{label}: it started")
        return
    row.reached += 1
    said = server.words()[known:]
    first = said.splitlines()[0] if said else ""
    if not first.startswith("pairvol: ") or not all(word in first for word in words) or "Traceback" in said:
        row.lose(f"{label}: said {said[:300]!r}")
    if "HINT: " not in said:
        row.lose(f"{label}: no hint in {said[:300]!r}")


def _truncated(files: SiteFiles) -> None:
    os.truncate(files.journal, JOURNAL_BYTES // 2)


def _replaced(files: SiteFiles) -> None:
    files.journal.unlink()
    JournalVolume.create(str(files.journal), JOURNAL_BYTES, "00000000-0000-4000-8000-000000000bad", 1)


def _old_version(files: SiteFiles) -> None:
    """A header of another format version, with a right checksum."""
    with files.journal.open("r+b") as file:
        for lba in HEADER_SLOT_LBAS:
            file.seek(lba * BLOCK_BYTES)
            block = bytearray(file.read(BLOCK_BYTES))
            block[8] = 99
            block[-4:] = crc32c(bytes(block[:-4])).to_bytes(4, "little")
            file.seek(lba * BLOCK_BYTES)
            file.write(block)


def _overwritten(files: SiteFiles) -> None:
    with files.journal.open("r+b") as file:
        file.write(bytes(64 << 10))


REFUSED: dict[str, tuple[Callable[[SiteFiles], None], str]] = {
    "journal missing": (lambda files: files.journal.unlink(), "missing"),
    "journal truncated": (_truncated, "truncated"),
    "journal of another group": (_replaced, "belongs to group"),
    "journal of another format": (_old_version, "format version 99"),
    "journal overwritten": (_overwritten, "journal"),
    "pointer page missing": (lambda files: files.pointers.unlink(), "missing"),
    "pointer page cut short": (lambda files: os.truncate(files.pointers, 512), "4096"),
    "volume missing": (lambda files: files.volumes[0].unlink(), "missing"),
    "volume too short": (lambda files: os.truncate(files.volumes[0], VOLUME_BYTES // 2), "needs"),
}


def run_refusal(row: Row, processes: Processes, directory: Path, name: str) -> None:
    """A group whose files are not what they were is refused by name."""
    files = make_files(directory / "group", 1)
    spoil, words = REFUSED[name]
    spoil(files)
    _judge_refusal(row, name, VolumeServer(processes, directory, files, name=directory.name), [words])


def _no_rights(name: str) -> Callable[[SiteFiles], None]:
    return lambda files: (files.journal.parent / name).chmod(0)


RIGHTS = {name: (_no_rights(name), "permission denied") for name in ("journal", "pointers", "vol0")}


def run_rights(row: Row, processes: Processes, directory: Path, name: str) -> None:
    """A server that may not open its files."""
    files = make_files(directory / "group", 1)
    spoil, words = RIGHTS[name]
    spoil(files)
    server = VolumeServer(processes, directory, files, prefix=WITHOUT_RIGHTS, name=directory.name)
    _judge_refusal(row, f"no rights to {name}", server, [words, f"group/{name}"])


def run_secondary_refusal(row: Row, processes: Processes, directory: Path, name: str) -> None:
    """The same files at a secondary: its group is not opened, and what is wrong is named."""
    files = make_files(directory / "group", 1)
    spoil, words = REFUSED[name]
    spoil(files)
    row.attempted += 1
    try:
        with opened_group(files, directory / "initial-copy"):
            row.lose(f"secondary, {name}: it was opened")
    except PairvolError as error:
        row.reached += 1
        if words not in error.message or not error.hint:
            row.lose(f"secondary, {name}: said {error.message!r}, hint {error.hint!r}")


def run_second_secondary(row: Row, processes: Processes, directory: Path) -> None:
    """A volume server and a secondary on one journal: who comes second refuses."""
    files = make_files(directory / "group", 1)
    with opened_group(files, directory / "initial-copy"):
        server = VolumeServer(processes, directory, files, name=f"{directory.name}-second")
        _judge_refusal(row, "a server beside a secondary", server, ["in use by another process"])


def run_second_server(row: Row, processes: Processes, directory: Path) -> None:
    """Two servers on one journal: the second refuses."""
    files = make_files(directory / "group", 1)
    first = VolumeServer(processes, directory, files, name=f"{directory.name}-first")
    first.start()
    second = VolumeServer(processes, directory, files, name=f"{directory.name}-second")
    _judge_refusal(row, "a second server", second, ["in use by another process"])
    first.stop()
