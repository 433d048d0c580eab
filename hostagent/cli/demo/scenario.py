"""The main job, step by step: from two empty sites to a dead primary.

Owns the order of the steps on the primary's side. What follows the disaster
is in `aftermath.py`, what is found in `verdict.py`, what is shown in
`show.py`.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from controller.api.models import VolumeCreate
from controller.errors import PeerError, StorageError
from controller.units import counted, format_size
from hostagent.api.models import AttachOrder, PairCreate, PairState, PairStatus, SiteVolumes
from hostagent.cli.demo import devices
from hostagent.cli.demo.reporter import Progress, Reporter, Step
from hostagent.cli.demo.workload import TreeFile, plan_tree
from hostagent.cli.demo.workspace import Workspace
from hostagent.cli.demo.writers import Writers
from hostagent.client import Agent

GROUP: Final = "db"
VOLUME: Final = "data"
TREE_FILES_MAX: Final = 8000
SEED_SHARE: Final = 0.3  # of the tree, written before the pair is made: what the initial copy has to move
TREE_SECONDS: Final = 8.0  # a slow machine writes less of the tree
SEED_SECONDS: Final = 3.0
TREE_SECONDS_MAX: Final = 30.0
PAIR_SECONDS_MAX: Final = 30.0
LOAD_SECONDS: Final = 2.5
POLL_SECONDS: Final = 0.1


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

    def __post_init__(self) -> None:
        self.writers = Writers(self.workspace, self.mount_point, self.facts.run)

    @property
    def mount_point(self) -> Path:
        return self.workspace.mount_point(self.workspace.sites.primary)

    def play(self) -> None:
        """All steps in order."""
        primary = self.workspace.sites.primary
        with self.reporter.step("two sites start") as step:
            self.workspace.sites.start()
            step.detail = "four daemons, TCP on loopback"
        with Agent(primary.agent_url) as agent:
            self._make_volume(agent)
            plan = plan_tree(self.tree_bytes, TREE_FILES_MAX)
            seed = max(1, int(len(plan) * SEED_SHARE))
            self._write_seed(plan[:seed])
            self.writers.start_records()
            self._make_pair(agent)
            self._write_tree(agent, plan[seed:])
            self._kill_under_load(agent)

    def _make_volume(self, agent: Agent) -> None:
        with self.reporter.step(f"PVOL {VOLUME}, {format_size(self.size_bytes)}, with ext4") as step:
            agent.create_volume(VolumeCreate(name=VOLUME, size_bytes=self.size_bytes))
            attachment = agent.attach(AttachOrder(volume=VOLUME))
            if attachment.device is None:
                raise StorageError(f"attaching {VOLUME} gave no block device", hint='Run "pairvol check".')
            devices.make_file_system(attachment.device)
            devices.mount(attachment.device, self.mount_point)
            step.detail = f"{attachment.device} ({attachment.method})"

    def _write_seed(self, plan: Sequence[TreeFile]) -> None:
        """Part of the tree before there is a pair: what the initial copy has to move."""
        with self.reporter.step("first files") as step:
            self._copy_tree(plan, SEED_SECONDS, step, agent=None)

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
        with self.reporter.step("the tree, while the copy runs") as step:
            total = self._copy_tree(plan, TREE_SECONDS, step, agent)
            self._wait_paired(agent, total)
            secondary = agent.journal(GROUP).secondary
            # Consistent from a journal after the first one: that many were written while the copy ran.
            self.facts.copied_while_written = bool(secondary and secondary.consistent_sequence)

    def _copy_tree(self, plan: Sequence[TreeFile], seconds: float, step: Step, agent: Agent | None) -> int:
        """Copy files, showing progress (with an agent: also the pair's); returns bytes copied."""
        total = sum(file.size_bytes for file in plan)
        already = len(self.writers.synced_files)
        writer = self.writers.start_tree(plan, seconds)
        deadline = time.monotonic() + TREE_SECONDS_MAX
        while True:
            ended = writer.poll() is not None
            self.writers.check()
            copied = self.writers.synced_files[already:]
            done = sum(file.size_bytes for file in copied)
            if ended:
                step.detail = f"{counted(len(copied), 'file')}, {format_size(done)}"
                return done
            if time.monotonic() > deadline:
                raise StorageError(f"writing the tree took more than {TREE_SECONDS_MAX:g} s")
            self._observe(agent, done, total)
            time.sleep(POLL_SECONDS)

    def _wait_paired(self, agent: Agent, total: int) -> None:
        deadline = time.monotonic() + PAIR_SECONDS_MAX
        while (status := self._observe(agent, total, total)) is not None and status.state != PairState.PAIR:
            if time.monotonic() > deadline:
                raise PeerError(
                    f"{GROUP} did not reach {PairState.PAIR} within {PAIR_SECONDS_MAX:g} s: {status.line}",
                    hint="--keep leaves the sites running to be looked at.",
                )
            time.sleep(POLL_SECONDS)

    def _observe(self, agent: Agent | None, done: int, total: int) -> PairStatus | None:
        """Show how far it is, and take a sample of the lag."""
        if agent is None:
            self.reporter.progress(Progress(done, total))
            return None
        status = agent.pair_status(GROUP)
        if status.lag_seconds is not None:
            self.facts.lag_seconds.append(status.lag_seconds)
        copied = next((side.copy_percent for side in status.sides if side.copy_percent is not None), None)
        self.reporter.progress(Progress(done, total, copied, status.lag_seconds, status.lag_bytes))
        return status

    def _kill_under_load(self, agent: Agent) -> None:
        """Bulk load beside the writer that fsyncs; then the site is gone from one moment to the next."""
        site = self.workspace.sites.primary
        with self.reporter.step(f"more load, then SIGKILL to {site.name}") as step:
            self.writers.start_load()
            end = time.monotonic() + LOAD_SECONDS
            while time.monotonic() < end:
                self.writers.check()
                self._observe(agent, 0, 0)
                time.sleep(POLL_SECONDS)
            self.facts.killed_ns = time.time_ns()
            self.facts.killed_processes = site.kill_site()
            self.writers.await_end()
            devices.release(site.directory)
            count = len(self.writers.acknowledged)
            step.detail = f"{self.facts.killed_processes} processes; {counted(count, 'record')} fsynced"
