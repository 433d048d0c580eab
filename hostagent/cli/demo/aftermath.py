"""After the disaster: takeover at the secondary site, and where every acknowledged write is.

Owns the steps on the secondary's side and the reading of the dead primary's
journal. It judges by `verdict.py` and fills an Outcome.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from controller.errors import StorageError
from controller.paths import GroupPaths, Paths
from controller.units import counted, format_duration, format_size
from hostagent.api.models import AttachOrder, TakeoverReport
from hostagent.cli.demo import devices
from hostagent.cli.demo.reporter import Reporter
from hostagent.cli.demo.scenario import GROUP, VOLUME, Scenario
from hostagent.cli.demo.sites import Daemon, Site
from hostagent.cli.demo.tail import Tail, apply_tail, read_tail
from hostagent.cli.demo.verdict import (
    FileComparison,
    Outcome,
    RecordComparison,
    RecoveredRecords,
    compare_files,
    compare_records,
    mean,
    percentile,
    read_records,
)
from hostagent.client import Agent

CLEAN: Final = [0, 0]


@dataclass
class Aftermath:
    """The steps after the primary site is gone."""

    scenario: Scenario
    reporter: Reporter

    @property
    def survivor(self) -> Site:
        return self.scenario.workspace.sites.secondary

    def play(self) -> Outcome:
        """Take over, check the file system, compare, and read the dead primary's journal."""
        dead = self.scenario.workspace.sites.primary
        primary_dead = not dead.processes()
        with Agent(self.survivor.agent_url) as agent:
            report, seconds = self._take_over(agent)
            copy_seconds = self._copy_image(agent)
            point, fsck, serving_seconds = self._mount(agent, copy_seconds)
        files = self._compare_files(point, report)
        tail, records = self._compare_records(point, report)
        checks = {
            "copied_while_written": self.scenario.facts.copied_while_written,
            "primary_dead": primary_dead,
            "taken_over": report.restored_sequence > 0,
            "file_system_clean": fsck == CLEAN,
            "files_equal": files.files > 0 and files.wrong == 0,
            "records_in_order": records.recovered > 0 and records.order_violations == 0,
            "recovery_point_kept": not records.late,
            "tail_in_primary_journal": not records.lost,
        }
        lost = len(records.lost) + files.wrong
        checks["nothing_lost"] = lost == 0
        lag = self.scenario.facts.lag_seconds
        figures = {
            "files": files.files,
            "bytes": files.total_bytes,
            "lag_seconds_mean": mean(lag),
            "lag_seconds_p99": percentile(lag, 0.99),
            "takeover_seconds": seconds,
            "takeover_kind": report.kind,
            "takeover_journals": report.journals_restored,
            "serving_seconds": serving_seconds,
            "journals_restored": report.restored_sequence,
            "tail_seconds": tail.seconds,
            "tail_journals": tail.journals,
            "tail_bytes": tail.written_bytes,
            "records_acknowledged": records.acknowledged,
            "records_recovered": records.recovered,
            "records_in_tail": records.in_tail,
            "lost": lost,
            "order_violations": records.order_violations,
        }
        return Outcome(checks, figures)

    @property
    def image(self) -> Path:
        """The secondary's volume at the recovery point."""
        return self.survivor.directory / "at-recovery-point.img"

    def _take_over(self, agent: Agent) -> tuple[TakeoverReport, float]:
        site = self.survivor.name
        with self.reporter.step(f"takeover at {site}") as step:
            started = time.monotonic()
            report = agent.take_over(GROUP)
            seconds = time.monotonic() - started
            step.detail = f"{report.kind}; {counted(report.restored_sequence, 'journal')} restored"
        return report, seconds

    def _copy_image(self, agent: Agent) -> float:
        """Keep the volume as it is at the recovery point, for the proof; nobody would do so in earnest.

        Returns the seconds it took, so that they are not counted as time to service.
        """
        started = time.monotonic()
        devices.copy_image(Path(agent.volume(VOLUME).backing), self.image)
        return time.monotonic() - started

    def _mount(self, agent: Agent, copy_seconds: float) -> tuple[Path, list[int], float]:
        """Attach, fsck, mount; the seconds count from the disaster to a mounted file system, but for the copy."""
        point = self.scenario.workspace.mount_point(self.survivor)
        with self.reporter.step("fsck and mount there") as step:
            attachment = agent.attach(AttachOrder(volume=VOLUME))
            if attachment.device is None:
                raise StorageError(f"attaching {VOLUME} at {self.survivor.name} gave no block device")
            fsck = devices.check_file_system(attachment.device)
            devices.mount(attachment.device, point)
            seconds = (time.time_ns() - self.scenario.facts.killed_ns) / 1e9 - copy_seconds
            state = "clean" if fsck == CLEAN else f"e2fsck exit codes {fsck}"
            step.detail = f"{state}, {format_duration(seconds)} after the disaster"
        return point, fsck, seconds

    def _compare_files(self, point: Path, report: TakeoverReport) -> FileComparison:
        with self.reporter.step("every file, by checksum") as step:
            files = compare_files(self.scenario.writers.synced_files, point, report.restored_time_ns)
            wrong = f"{len(files.missing)} missing, {len(files.different)} different" if files.wrong else "equal"
            step.detail = f"{counted(files.files, 'file')}, {format_size(files.total_bytes)}: {wrong}"
        return files

    def _compare_records(self, point: Path, report: TakeoverReport) -> tuple[Tail, RecordComparison]:
        """Read the tail, apply it to the copy, and look for every acknowledged record without and with it."""
        dead = self.scenario.workspace.sites.primary
        run = self.scenario.facts.run
        with self.reporter.step(f"the journal of dead {dead.name}") as step:
            journal = GroupPaths(Paths(dead.state_directory(Daemon.CONTROLLER), Path()).group(GROUP)).journal
            tail = read_tail(journal, report.restored_sequence, report.restored_time_ns)
            apply_tail(journal, tail, self.image)
            completed = self._read_image(run)
            records = compare_records(
                self.scenario.writers.acknowledged,
                read_records(point, run),
                completed,
                report.restored_time_ns,
            )
            found = records.acknowledged - len(records.lost)
            step.detail = f"{tail.journals} kept; {found} of {counted(records.acknowledged, 'record')}"
        return tail, records

    def _read_image(self, run: str) -> RecoveredRecords:
        point = self.scenario.workspace.directory / "mnt" / "with-tail"
        devices.mount_image(self.image, point)
        try:
            return read_records(point, run)
        finally:
            devices.unmount(point)
            self.image.unlink()
