"""The writers of the demonstration: processes that write to the mounted volume, and their logs.

Owns starting them, what their logs say, and ending them. What they write is
in `workload.py`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from controller.errors import StorageError
from hostagent.cli.demo.workload import SyncedFile, TreeFile, acknowledged_records, synced_files
from hostagent.cli.demo.workspace import Workspace, end_processes, writer_environment

PROJECT: Final = Path(__file__).resolve().parents[3]
END_SECONDS: Final = 20.0

Writer = subprocess.Popen[bytes]


@dataclass
class Writers:
    """Everything that writes below one mount point."""

    workspace: Workspace
    mount_point: Path
    run: str  # tells this run's records from any other's
    _running: list[Writer] = field(default_factory=list)

    @property
    def synced_files(self) -> list[SyncedFile]:
        """Files of the tree that are durable, by the log of their writer."""
        return synced_files(self._log("tree"))

    @property
    def acknowledged(self) -> dict[int, int]:
        """Records whose fsync has returned, and when."""
        return acknowledged_records(self._log("records"))

    def start_tree(self, plan: Sequence[TreeFile], seconds: float) -> Writer:
        """Copy these files; stops after `seconds` with what is copied by then."""
        path = self.workspace.logs / "plan.json"
        path.write_text(json.dumps([[file.source, file.place, file.size_bytes] for file in plan]))
        return self._start("tree", "--plan", str(path), "--seconds", str(seconds))

    def start_records(self) -> Writer:
        """Write numbered records, each fsynced, until the volume is gone."""
        return self._start("records", "--run", self.run)

    def start_load(self) -> Writer:
        """Keep the link busy until the volume is gone."""
        return self._start("load")

    def check(self) -> None:
        """StorageError with its words when a writer has failed."""
        for writer in self._running:
            if writer.poll() not in (None, 0):
                job = str(writer.args[3]) if isinstance(writer.args, list) else "a writer"
                words = self._log(job).with_suffix(".err").read_text(errors="replace").strip().splitlines()
                raise StorageError(f"writing to the volume failed: {words[-1] if words else job}")

    def await_end(self) -> None:
        """Wait for writers whose device is dead: they get EIO; one that hangs is killed."""
        for writer in self._running:
            try:
                writer.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                continue
        end_processes(self.workspace.directory)

    def _start(self, job: str, *options: str) -> Writer:
        command = [sys.executable, "-m", "hostagent.cli.demo.workload", job, str(self.mount_point), *options]
        with self._log(job).with_suffix(".err").open("ab") as errors:
            writer = subprocess.Popen(
                [*command, "--log", str(self._log(job))],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=writer_environment(self.workspace.directory),
                cwd=PROJECT,
                start_new_session=True,
            )
        self._running.append(writer)
        return writer

    def _log(self, job: str) -> Path:
        return self.workspace.logs / f"{job}.log"
