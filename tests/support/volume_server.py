"""A journal group's files, and the volume server over them: in this process, or in a real nbdkit."""

from __future__ import annotations

import json
import subprocess
import sysconfig
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controller.control_client import command
from controller.journal.pointers import Pointer, PointerPage
from controller.journal.volume import JournalVolume
from controller.volume.settings import ServerSettings, parse_server
from tests.support.nbdkit import unix_uri
from tests.support.processes import PROJECT, Processes
from tests.support.waiting import wait_until

PLUGIN = PROJECT / "nbd_plugin" / "plugin.py"


@dataclass
class GroupFiles:
    """Volumes (name: bytes) and, with `journal_bytes`, a journal, all in one directory."""

    directory: Path
    sizes: Mapping[str, int]
    journal_bytes: int | None = None
    full_wait_seconds: float = 5.0
    acquire: bool = True
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))

    def create(self) -> GroupFiles:
        self.directory.mkdir(parents=True, exist_ok=True)
        for name, size in self.sizes.items():
            with self.volume(name).open("wb") as file:
                file.truncate(size)
        if self.journal_bytes:
            self.create_journal(self.journal_bytes)
        return self

    def create_journal(self, size_bytes: int) -> None:
        self.journal_bytes = size_bytes
        JournalVolume.create(str(self.journal), size_bytes, self.uuid, 1)
        PointerPage.create(str(self.pointers)).close()

    def volume(self, name: str) -> Path:
        return self.directory / f"{name}.volume"

    @property
    def journal(self) -> Path:
        return self.directory / "journal"

    @property
    def pointers(self) -> Path:
        return self.directory / "pointers"

    @property
    def dirty_map(self) -> Path:
        return self.directory / "dirty"

    @property
    def socket(self) -> Path:
        return self.directory / "nbd.sock"

    @property
    def pidfile(self) -> Path:
        return self.socket.with_suffix(".pid")

    @property
    def control(self) -> Path:
        return self.directory / "control.sock"

    @property
    def journal_document(self) -> dict[str, Any]:
        return {
            "path": str(self.journal),
            "pointers": str(self.pointers),
            "group_uuid": self.uuid,
            "generation": 1,
            "acquire": self.acquire,
            "full_wait_seconds": self.full_wait_seconds,
            "dirty_map": str(self.dirty_map),
        }

    @property
    def document(self) -> dict[str, Any]:
        """server.json as the controller writes it."""
        volumes = [
            {"index": index, "name": name, "path": str(self.volume(name)), "size_bytes": size, "writable": True}
            for index, (name, size) in enumerate(self.sizes.items())
        ]
        journal = self.journal_document if self.journal_bytes else None
        return {"name": "db", "control": str(self.control), "volumes": volumes, "journal": journal}

    @property
    def settings(self) -> ServerSettings:
        return parse_server(self.document)

    def uri(self, name: str = "") -> str:
        return unix_uri(self.socket, name)

    def command(self, name: str, **arguments: Any) -> dict[str, Any]:
        return command(self.control, name, **arguments)

    def confirm_all(self) -> None:
        """Play the controller: every reader has everything that is durable."""
        page = PointerPage.open(str(self.pointers))
        page.publish(Pointer.CONFIRMED, page.read(Pointer.DURABLE))
        page.close()


def server_environment() -> dict[str, str]:
    """nbdkit embeds the distribution's interpreter: it finds our packages by PYTHONPATH."""
    return {"PYTHONPATH": f"{PROJECT}:{sysconfig.get_path('purelib')}"}


def server_words(config: Path, socket: Path, plugin: Path = PLUGIN) -> list[str | Path]:
    """nbdkit's command line."""
    pidfile = socket.with_suffix(".pid")
    return ["nbdkit", "-f", "-U", socket, "--pidfile", pidfile, "python", plugin, f"config={config}"]


def start_volume_server(
    processes: Processes,
    files: GroupFiles,
    name: str = "server",
    plugin: Path = PLUGIN,
    before: Sequence[str | Path] = (),
    wait: bool = True,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Write server.json and start nbdkit on it, `before` it a tracer if need be; waited for until it serves."""
    config = files.directory / "server.json"
    config.write_text(json.dumps(files.document))
    for stale in (files.pidfile, files.socket, files.control):
        stale.unlink(missing_ok=True)
    words = server_words(config, files.socket, plugin)
    process = processes.start([*before, *words], name, {**server_environment(), **(environment or {})})

    def serving() -> bool:
        if process.poll() is not None:
            raise AssertionError(f"volume server ended with {process.returncode}: {processes.log(name)}")
        return files.pidfile.exists() and files.control.exists()

    if wait:
        wait_until(serving, 20, "the volume server to serve")
    return process
