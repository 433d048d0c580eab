"""A primary served by stock nbdkit over TCP, and a secondary group beside it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controller.api.models import CopySource
from controller.copy.worker import SecondaryGroup
from controller.journal.layout import BLOCK_BYTES
from controller.journal.pointers import Pointer
from controller.volume.backing import Backing
from tests.support.processes import Processes, free_port
from tests.support.waiting import wait_until
from tests.unit.copy.parts import GROUP, Primary, content, empty_secondary, open_svols, svol


class JournalServer:
    """`nbdkit file dir=` on a TCP port of 127.0.0.1 that stays the same over restarts."""

    def __init__(self, processes: Processes, directory: Path, port: int | None = None, name: str = "journal") -> None:
        self.processes = processes
        self.directory = directory
        self.port = port or free_port()
        self.name = name
        self.start()

    @property
    def uri(self) -> str:
        return f"nbd://127.0.0.1:{self.port}"

    def start(self) -> None:
        pidfile = self.processes.log_directory / f"{self.name}.pid"
        pidfile.unlink(missing_ok=True)
        command = ["nbdkit", "-f", "-r", "-i", "127.0.0.1", "-p", str(self.port), "--pidfile", str(pidfile)]
        command += ["--filter=noparallel", "file", f"dir={self.directory}", "serialize=requests"]  # as the product does
        self.process = self.processes.start(command, self.name)
        wait_until(pidfile.exists, what=f"nbdkit to listen on {self.port}")

    def kill(self) -> None:
        self.processes.kill(self.process)


class Secondary:
    """The files of a secondary group, and the group while it is open."""

    def __init__(self, directory: Path, sizes: Mapping[int, int], journal_bytes: int = 4 << 20) -> None:
        empty_secondary(directory, journal_bytes)
        for index, size in sizes.items():
            svol(directory / f"svol{index}", size).close()
        self._begin(directory)

    @classmethod
    def reopen(cls, directory: Path) -> Secondary:
        """What another process left."""
        secondary = cls.__new__(cls)
        secondary._begin(directory)
        return secondary

    def _begin(self, directory: Path) -> None:
        self.directory = directory
        self.svols = open_svols(directory)
        self.events: list[tuple[str, str]] = []
        self.markers: list[bytes] = []
        self.open()

    def open(self) -> None:
        self.group = SecondaryGroup(
            "db",
            GROUP,
            1,
            str(self.directory / "journal"),
            str(self.directory / "pointers"),
            self.svols,
            self.directory / "copy.json",
            self._event,
            lambda markers: self.markers.extend(marker.payload for marker in markers),
        )

    def _event(self, level: str, name: str, message: str, facts: dict[str, Any]) -> None:
        self.events.append((name, message))

    def pointer(self, pointer: Pointer) -> int:
        return self.group.snapshot().pointers[str(pointer)].sequence

    def wait_restored(self, sequence: int) -> None:
        wait_until(lambda: self.pointer(Pointer.ALREADY_RESTORED) >= sequence, 60, f"restore of {sequence}")

    def wait_failed(self) -> str:
        return wait_until(lambda: self.group.snapshot().failure, what="a failure").message  # type: ignore[union-attr]

    def equals(self, volumes: Mapping[int, bytes | bytearray]) -> bool:
        return all(content(self.svols[index]) == bytes(volume) for index, volume in volumes.items())

    def close(self) -> None:
        self.group.stop()
        for backing in self.svols.values():
            backing.close()


class Writer(threading.Thread):
    """Journals first, then the PVOL's file, as a volume server does; purges what the secondary confirmed."""

    def __init__(self, primary: Primary, secondary: Secondary, pvols: Mapping[int, Path], writes: int) -> None:
        super().__init__(daemon=True)
        self.primary = primary
        self.pvols = {index: Backing.open(str(path), path.stat().st_size) for index, path in pvols.items()}
        self.writes = writes
        self.secondary = secondary
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            for number in range(1, self.writes + 1):
                self._write(number)
        except BaseException as error:
            self.error = error
            raise
        finally:
            self.primary.commit()
            for backing in self.pvols.values():
                backing.close()

    def _write(self, number: int) -> None:
        index = sorted(self.pvols)[number % len(self.pvols)]
        size = len(self.primary.volumes[index]) // BLOCK_BYTES
        blocks = 1 + number * 7 % 24
        lba = number * 2654435761 % (size - blocks)
        self._make_room(blocks)
        data = number.to_bytes(8, "little") * (blocks * BLOCK_BYTES // 8)
        self.primary.write(index, lba, data)
        self.primary.commit()
        self.pvols[index].pwrite(data, lba * BLOCK_BYTES)

    def _make_room(self, blocks: int) -> None:
        journal, end = self.primary.journal, self.primary.end

        def fits() -> bool:
            read = self.secondary.group.snapshot().pointers[str(Pointer.ALREADY_READ)]
            return (
                end.data_position + blocks - read.data_position <= journal.data_blocks
                and end.sequence + 1 - read.sequence <= journal.slot_count
            )

        wait_until(fits, 60, "room in the primary's journal", interval=0.001)


def source_at(primary: Primary, uri: str, pvols: Mapping[int, str] | None = None) -> CopySource:
    return primary.source(uri, {str(index): f"{uri}/{name}" for index, name in (pvols or {}).items()})


def files(primary: Primary) -> dict[int, Path]:
    """The PVOLs as files that the journal server also serves."""
    paths = {index: primary.directory / f"pvol{index}" for index in primary.volumes}
    for index, path in paths.items():
        path.write_bytes(bytes(primary.volumes[index]))
    return paths
