"""File systems that are full: a tmpfs of 2 MiB under one of the group's files."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import nbd

from controller import durable
from controller.errors import CapacityError, StorageError
from controller.journal.volume import JournalVolume
from tests.crash.powercut.recording import make_files
from tests.crash.results import Row
from tests.crash.server import GROUP_UUID, VolumeServer
from tests.support.nbdkit import connected
from tests.support.processes import Processes
from tests.support.waiting import wait_until

VOLUME_BYTES = 8 << 20


@contextmanager
def small_disk(point: Path, size: str = "2m") -> Iterator[Path]:
    """A tmpfs of 2 MiB, or of another size."""
    point.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", point], check=True)
    try:
        yield point
    finally:
        subprocess.run(["umount", point], check=True)


def volume_on_full_disk(row: Row, processes: Processes, directory: Path, killed: bool = False) -> None:
    """A sparse PVOL outgrows its file system: named, kept in the journal, and all there when there is room again."""
    row.attempted += 1
    with small_disk(directory / "disk") as disk, ExitStack() as stack:
        files = make_files(directory / "group", 1, VOLUME_BYTES, 16 << 20)
        files.volumes = [disk / "vol0"]
        with files.volumes[0].open("wb") as file:
            file.truncate(VOLUME_BYTES)
        server = stack.enter_context(VolumeServer(processes, directory, files, name=directory.name))
        server.start()
        data = random.Random(row.seed).randbytes(4 << 20)
        written = 0
        with connected(server.uri()) as handle:
            try:
                for start in range(0, len(data), 1 << 18):
                    handle.pwrite(data[start : start + (1 << 18)], start, nbd.CMD_FLAG_FUA)
                    written = start + (1 << 18)
            except nbd.Error:
                pass  # told already; what was acknowledged before must be there all the same
        answer = server.command("checkpoint")
        failure = server.command("status")["failure"]
        row.reached += not answer["ok"]
        if answer["ok"] or not failure or "no space left" not in failure["message"].lower():
            row.lose(f"volume on a full disk: checkpoint {answer}, status {failure}")
        if killed:
            server.kill()
        subprocess.run(["mount", "-o", "remount,size=16m", disk], check=True)
        if killed:
            server.start()
        else:
            wait_until(lambda: server.command("status")["failure"] is None, 20, "the volume to go on by itself")
        with connected(server.uri()) as handle:
            if bytes(handle.pread(written, 0)) != data[:written] if written else False:
                row.lose("volume on a full disk: acknowledged writes are missing when there is room")
            handle.pwrite(data[:4096], 4 << 20, nbd.CMD_FLAG_FUA)
        if not server.command("checkpoint")["ok"]:
            row.lose("volume on a full disk: nothing is destaged when there is room")
        server.stop()
        if files.volumes[0].read_bytes()[: 4 << 20][:written] != data[:written]:
            row.lose("volume on a full disk: acknowledged writes are not in the volume")


def suspended_on_full_disk(row: Row, processes: Processes, directory: Path) -> None:
    """No room in the volume when the journal is to be given up: the order fails, and all goes on when there is room."""
    row.attempted += 1
    with small_disk(directory / "disk") as disk, ExitStack() as stack:
        files = make_files(directory / "group", 1, VOLUME_BYTES, 4 << 20)
        files.volumes = [disk / "vol0"]
        with files.volumes[0].open("wb") as file:
            file.truncate(VOLUME_BYTES)
        _fill(disk)
        server = stack.enter_context(VolumeServer(processes, directory, files, name=directory.name))
        server.start()
        data = random.Random(row.seed).randbytes(1 << 16)  # so little that nothing is destaged at once
        with connected(server.uri()) as handle:
            handle.pwrite(data, 0, nbd.CMD_FLAG_FUA)
            answer = server.command("suspend", cause="operator")
            row.reached += not answer["ok"]
            if answer["ok"] or "no space left" not in answer["message"]:
                row.lose(f"suspended on a full disk: {answer}")
            (disk / "ballast").unlink()
            wait_until(lambda: server.command("status")["failure"] is None, 20, "the volume to go on by itself")
            handle.pwrite(data[:4096], 1 << 20, nbd.CMD_FLAG_FUA)
            if bytes(handle.pread(len(data), 0)) != data:
                row.lose("suspended on a full disk: acknowledged writes are missing when there is room")
        if not server.command("suspend", cause="operator")["ok"]:
            row.lose("suspended on a full disk: the order given again is refused")
        server.stop()


def journal_on_small_disk(row: Row, processes: Processes, directory: Path) -> None:
    """A journal that does not fit is refused before anything starts, and leaves nothing behind."""
    row.attempted += 1
    with small_disk(directory / "disk") as disk:
        try:
            JournalVolume.create(str(disk / "journal"), 4 << 20, GROUP_UUID, 1)
            row.lose("journal on a small disk: it was made")
        except CapacityError as error:
            row.reached += 1
            if "no space left" not in error.message.lower() or (disk / "journal").exists():
                row.lose(f"journal on a small disk: {error.message}")


def state_on_full_disk(row: Row, processes: Processes, directory: Path) -> None:
    """A document that cannot be replaced stays as it was."""
    row.attempted += 1
    with small_disk(directory / "disk") as disk:
        durable.write_json(disk / "state.json", {"generation": 1})
        _fill(disk)
        try:
            durable.write_json(disk / "state.json", {"generation": 2, "padding": "x" * 8192})
            row.lose("state on a full disk: it was written")
        except StorageError as error:
            row.reached += 1
            if "no space left" not in error.message or str(disk / "state.json") not in error.message:
                row.lose(f"state on a full disk: {error.message}")
        if durable.read_json(disk / "state.json") != {"generation": 1} or len(list(disk.iterdir())) != 2:
            row.lose("state on a full disk: the old document is not as it was")


def dirty_map_on_full_disk(row: Row, processes: Processes, directory: Path) -> None:
    """A full journal that cannot be suspended: the client is told, nothing goes on untracked."""
    row.attempted += 1
    with small_disk(directory / "disk") as disk, ExitStack() as stack:
        files = make_files(directory / "group", 1, VOLUME_BYTES)
        files.dirty_map, files.full_wait_seconds = disk / "dirty", 0.1
        _fill(disk)
        server = stack.enter_context(VolumeServer(processes, directory, files, name=directory.name))
        server.start()
        told = 0
        with connected(server.uri()) as handle:
            for start in range(0, VOLUME_BYTES, 1 << 16):
                try:
                    handle.pwrite(b"x" * (1 << 16), start)
                    if told:
                        row.lose("dirty map on a full disk: a write went on untracked")
                except nbd.Error:
                    told += 1
        failure = server.command("status")["failure"]
        row.reached += bool(told)
        if not told or not failure or "no space left" not in failure["message"].lower():
            row.lose(f"dirty map on a full disk: {told} errors, status {failure}")
        server.kill()


def _fill(disk: Path) -> None:
    with (disk / "ballast").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


SCENARIOS: dict[str, Callable[[Row, Processes, Path], None]] = {
    "volume on a full disk": volume_on_full_disk,
    "volume on a full disk, its server killed": partial(volume_on_full_disk, killed=True),
    "suspended on a full disk": suspended_on_full_disk,
    "journal on a small disk": journal_on_small_disk,
    "state on a full disk": state_on_full_disk,
    "dirty map on a full disk": dirty_map_on_full_disk,
}
