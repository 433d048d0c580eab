"""The main job, step by step: from two empty sites to a dead primary.

Owns the order of the steps on the primary's side. What follows the disaster
is in `aftermath.py`, what is found in `verdict.py`, what is shown in
`show.py`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from controller.api.models import VolumeCreate
from controller.errors import ConflictError, StorageError
from controller.units import format_size
from hostagent.api.models import AttachOrder, PairCreate, PairState, PairStatus, SiteVolumes
from hostagent.cli.demo import devices
from hostagent.cli.demo.reporter import Progress, Reporter
from hostagent.cli.demo.workload import TreeFile, acknowledged_records, plan_tree, synced_files
from hostagent.cli.demo.workspace import Workspace, end_processes, writer_environment
from hostagent.client import Agent

GROUP: Final = "db"
VOLUME: Final = "data"
TREE_FILES_MAX: Final = 8000
SEED_SHARE: Final = 0.3  # of the tree, written before the pair is made: what the initial copy has to move
TREE_SECONDS_MAX: Final = 60.0
PAIR_SECONDS_MAX: Final = 30.0
WRITER_SECONDS: Final = 2.5
WRITER_RECORDS_MIN: Final = 100
WRITER_SECONDS_MAX: Final = 15.0
POLL_SECONDS: Final = 0.1
END_SECONDS: Final = 10.0


@dataclass
class Facts:
    """What the steps leave behind for the verdict."""

    run: str = field(default_factory=lambda: uuid.uuid4().hex)
    lag_seconds: list[float] = field(default_factory=list)
    copied_while_written: bool = False
    killed_ns: int = 0
    killed_processes: int = 0


@dataclass
class Scenario:
    """The steps up to the disaster. Each may raise any PairvolError."""

    workspace: Workspace
    reporter: Reporter
    size_bytes: int
    tree_bytes: int
    facts: Facts = field(default_factory=Facts)

    @property
    def tree_log(self) -> Path:
        return self.workspace.logs / "tree.log"

    @property
    def record_log(self) -> Path:
        return self.workspace.logs / "records.log"

    @property
    def mount_point(self) -> Path:
        return self.workspace.mount_point(self.workspace.sites.primary)

    def play(self) -> None:
        """All steps in order."""
        primary = self.workspace.sites.primary
        with self.reporter.step("two sites start") as step:
            self.workspace.sites.start()
            step.detail = "a controller and an agent each, talking over TCP on loopback"
        with Agent(primary.agent_url) as agent:
            self._make_volume(agent)
            plan = plan_tree(self.tree_bytes, TREE_FILES_MAX)
            seed = max(1, int(len(plan) * SEED_SHARE))
            self._write_seed(plan[:seed])
            self._make_pair(agent)
            self._write_tree(agent, plan[seed:])
            self._write_records(agent)

    def _make_volume(self, agent: Agent) -> None:
        with self.reporter.step(f"PVOL {VOLUME}, {format_size(self.size_bytes)}, with ext4") as step:
            agent.create_volume(VolumeCreate(name=VOLUME, size_bytes=self.size_bytes))
            attachment = agent.attach(AttachOrder(volume=VOLUME))
            if attachment.device is None:
                raise StorageError(f"attaching {VOLUME} gave no block device", hint='Run "pairvol check".')
            devices.make_file_system(attachment.device)
            devices.mount(attachment.device, self.mount_point)
            step.detail = f"{attachment.device} ({attachment.method}) at {self.mount_point}"

    def _write_seed(self, plan: Sequence[TreeFile]) -> None:
        with self.reporter.step("first files") as step:
            writer = self._start_tree(plan)
            if writer.wait(TREE_SECONDS_MAX) != 0:
                raise StorageError(f"writing files failed: {self._words('tree')}")
            step.detail = f"{len(plan)} files, {format_size(sum(file.size_bytes for file in plan))}"

    def _make_pair(self, agent: Agent) -> None:
        primary, secondary = self.workspace.sites
        with self.reporter.step(f"pair {GROUP}, on the mounted volume") as step:
            agent.create_pair(
                PairCreate(
                    group=GROUP,
                    primary=SiteVolumes(site=primary.name, volumes=[VOLUME]),
                    secondary=SiteVolumes(site=secondary.name, volumes=[VOLUME]),
                    journal_bytes=self.size_bytes // 4,
                    secondary_journal_bytes=self.size_bytes // 2,
                )
            )
            step.detail = f"{primary.name} -> {secondary.name}"

    def _write_tree(self, agent: Agent, plan: Sequence[TreeFile]) -> None:
        """The rest of the tree, while the initial copy moves what was there before."""
        total = sum(file.size_bytes for file in plan)
        already = len(synced_files(self.tree_log))
        with self.reporter.step("the tree, journaled while the initial copy runs") as step:
            writer = self._start_tree(plan)
            deadline = time.monotonic() + TREE_SECONDS_MAX
            while writer.poll() is None:
                if time.monotonic() > deadline:
                    raise StorageError(f"writing the tree took more than {TREE_SECONDS_MAX:g} s")
                done = sum(file.size_bytes for file in synced_files(self.tree_log)[already:])
                self._observe(agent, done, total)
                time.sleep(POLL_SECONDS)
            if writer.returncode != 0:
                raise StorageError(f"writing the tree failed: {self._words('tree')}")
            self._wait_paired(agent, total)
            step.detail = f"{len(plan)} files, {format_size(total)}"

    def _wait_paired(self, agent: Agent, total: int) -> None:
        deadline = time.monotonic() + PAIR_SECONDS_MAX
        while (status := self._observe(agent, total, total)).state != PairState.PAIR:
            if time.monotonic() > deadline:
                raise ConflictError(f"{GROUP} is not protected after {PAIR_SECONDS_MAX:g} s: {status.line}")
            time.sleep(POLL_SECONDS)

    def _observe(self, agent: Agent, done: int, total: int) -> PairStatus:
        status = agent.pair_status(GROUP)
        if status.lag_seconds is not None:
            self.facts.lag_seconds.append(status.lag_seconds)
        copied = next((side.copy_percent for side in status.sides if side.copy_percent is not None), None)
        if status.state == PairState.COPY and any(side.sequence for side in status.sides):
            self.facts.copied_while_written = True
        self.reporter.progress(Progress(done, total, copied, status.lag_seconds, status.lag_bytes))
        return status

    def _write_records(self, agent: Agent) -> None:
        """A writer that fsyncs each record, bulk load beside it; then the site is gone from one moment to the next."""
        site = self.workspace.sites.primary
        with self.reporter.step("a writer that fsyncs every record; SIGKILL to the primary site") as step:
            writers = [self._start("records", "--run", self.facts.run, "--log", str(self.record_log))]
            writers.append(self._start("load"))
            started = time.monotonic()
            while not self._written_enough(started):
                if any(writer.poll() is not None for writer in writers):
                    raise StorageError(f"a writer ended: {self._words('records') or self._words('load')}")
                self._observe(agent, 0, 0)
                time.sleep(POLL_SECONDS)
            self.facts.killed_ns = time.time_ns()
            self.facts.killed_processes = site.kill_site()
            for writer in writers:  # their device is dead: they get EIO
                try:
                    writer.wait(END_SECONDS)
                except subprocess.TimeoutExpired:
                    continue  # `end_processes` takes it
            end_processes(self.workspace.directory)
            devices.release(site.directory)
            count = len(acknowledged_records(self.record_log))
            step.detail = f"{count} records acknowledged, {self.facts.killed_processes} processes killed"

    def _written_enough(self, started: float) -> bool:
        elapsed = time.monotonic() - started
        enough = len(acknowledged_records(self.record_log)) >= WRITER_RECORDS_MIN
        return elapsed > WRITER_SECONDS_MAX or (elapsed > WRITER_SECONDS and enough)

    def _start_tree(self, plan: Sequence[TreeFile]) -> subprocess.Popen[bytes]:
        path = self.workspace.logs / "plan.json"
        path.write_text(json.dumps([[file.source, file.place, file.size_bytes] for file in plan]))
        return self._start("tree", "--plan", str(path), "--log", str(self.tree_log))

    def _start(self, job: str, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "hostagent.cli.demo.workload", job, str(self.mount_point), *options]
        environment = writer_environment(self.workspace.directory)
        root = str(Path(__file__).resolve().parents[3])
        with (self.workspace.logs / f"{job}.err").open("ab") as errors:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=environment,
                cwd=root,
                start_new_session=True,
            )

    def _words(self, job: str) -> str:
        path = self.workspace.logs / f"{job}.err"
        lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
        return lines[-1] if lines else ""
