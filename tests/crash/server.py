"""A real volume server over given files, started as the controller starts it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from controller.volume.settings import ServerSettings, parse_server
from tests.support.nbdkit import unix_uri
from tests.support.processes import PROJECT, Processes
from tests.support.waiting import wait_until

PLUGIN = PROJECT / "nbd_plugin" / "plugin.py"
GROUP_UUID = "00000000-0000-4000-8000-00000000c0de"


@dataclass
class SiteFiles:
    """The files of one journal group, wherever they lie. Volumes are by index; names are vol0, vol1, ..."""

    journal: Path
    pointers: Path
    volumes: Sequence[Path]
    volume_bytes: int
    dirty_map: Path
    generation: int = 1
    full_wait_seconds: float = 10.0
    on_error: str = "fail"
    journaled: bool = True

    def document(self, control: Path) -> dict[str, Any]:
        """server.json."""
        return {
            "name": "db",
            "control": str(control),
            "volumes": [
                {"index": index, "name": f"vol{index}", "path": str(path), "size_bytes": self.volume_bytes}
                for index, path in enumerate(self.volumes)
            ],
            "journal": (
                self.journaled
                and {
                    "path": str(self.journal),
                    "pointers": str(self.pointers),
                    "group_uuid": GROUP_UUID,
                    "generation": self.generation,
                    "acquire": True,
                    "full_wait_seconds": self.full_wait_seconds,
                    "dirty_map": str(self.dirty_map),
                    "on_error": self.on_error,
                }
            )
            or None,
        }

    def settings(self) -> ServerSettings:
        """The same for a server in this process."""
        return parse_server(self.document(Path("/unused")))


@dataclass
class VolumeServer:
    """One volume server; may be started again and again. `script` is the plugin, or a mutant of it."""

    processes: Processes
    directory: Path  # for sockets, pid file and configuration: a short path
    files: SiteFiles
    script: Path = PLUGIN
    prefix: Sequence[str | Path] = ()  # a tracer
    environment: Mapping[str, str] = field(default_factory=dict)
    name: str = "volumes"

    @property
    def socket(self) -> Path:
        return self.directory / f"{self.name}.sock"

    @property
    def control_socket(self) -> Path:
        return self.directory / f"{self.name}.control"

    def uri(self, volume: int = 0) -> str:
        return unix_uri(self.socket, f"vol{volume}")

    def start(self) -> None:
        """Start, and return when it serves; AssertionError with its last words when it gives up."""
        self.launch()
        wait_until(self.serving, 30, f"{self.name} to serve")

    def launch(self) -> None:
        """Start without waiting."""
        configuration = self.directory / f"{self.name}.json"
        configuration.write_text(json.dumps(self.files.document(self.control_socket)))
        self.pidfile = self.directory / f"{self.name}.pid"
        for stale in (self.pidfile, self.socket, self.control_socket):
            stale.unlink(missing_ok=True)
        words: list[str | Path] = ["nbdkit", "-f", "-U", self.socket, "--pidfile", self.pidfile, "python", self.script]
        path = os.pathsep.join([str(PROJECT), *(word for word in sys.path if word.endswith("-packages"))])
        self.process: subprocess.Popen[bytes] = self.processes.start(
            [*self.prefix, *words, f"config={configuration}"], self.name, {"PYTHONPATH": path, **self.environment}
        )

    def serving(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended with {self.process.returncode}: {self.words()}")
        return self.pidfile.exists() and self.control_socket.exists()

    def words(self) -> str:
        """Everything it said so far, in all its lives."""
        log = self.processes.log_directory / f"{self.name}.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def command(self, command: str, timeout: float = 20.0, **arguments: Any) -> dict[str, Any]:
        """One command over the control socket."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(timeout)
            client.connect(str(self.control_socket))
            client.sendall(json.dumps({"command": command, **arguments}).encode() + b"\n")
            with client.makefile("rb") as stream:
                answer: dict[str, Any] = json.loads(stream.readline())
                return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *words: object) -> None:
        """Nothing may hold the group's files any more, whatever went wrong."""
        if hasattr(self, "process") and self.process.poll() is None:
            self.kill()

    def kill(self) -> None:
        """SIGKILL."""
        self.processes.kill(self.process)

    def stop(self) -> None:
        """SIGTERM: drained and checkpointed."""
        self.processes.stop(self.process)
