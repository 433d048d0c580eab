"""One demonstration from refusal to removal: what `pairvol demo` does.

Owns the order of set-up, play, verdict and clean-up, and that clean-up
happens whatever ends the play: success, failure, Ctrl-C or a polite signal.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

from controller.errors import CapacityError, PairvolError, UsageError
from controller.units import format_size
from hostagent.cli.demo.aftermath import Aftermath
from hostagent.cli.demo.reporter import Reporter
from hostagent.cli.demo.scenario import GROUP, Scenario
from hostagent.cli.demo.verdict import Outcome
from hostagent.cli.demo.workspace import Workspace, left_over
from hostagent.cli.probes import Finding, Level, devices, programs

SIZE_BYTES_MIN: Final = 512 << 20  # smaller ext4 file systems have smaller blocks than a record
DISK_SHARE: Final = 2.5  # of the volume's size: two volumes partly filled, two journals
FILE_SYSTEM_PROGRAMS: Final = ("mkfs.ext4", "e2fsck", "mount", "umount")


def demonstrate(directory: Path | None, size_bytes: int, keep: bool, reporter: Reporter) -> tuple[Outcome, Workspace]:
    """Play it all. The workspace is gone when this returns or raises, except with `keep`.

    With `keep` it also stays after a failure, to be looked at; an interrupt removes it in any case.
    """
    refuse_where_impossible(size_bytes)
    with _signals_as_interrupts():
        workspace = Workspace.create(directory)
        kept = False
        try:
            try:
                outcome = _play(workspace, size_bytes, keep, reporter)
            except PairvolError as error:
                kept = keep
                if keep:
                    error.hint += f' Look into {workspace.directory}; "pairvol demo --stop" removes it.'
                raise
            kept = keep
            return outcome, workspace
        finally:
            if kept:
                workspace.record(None)
            else:
                _remove(workspace)


def _play(workspace: Workspace, size_bytes: int, keep: bool, reporter: Reporter) -> Outcome:
    _refuse_full_disk(workspace.directory, size_bytes)
    scenario = Scenario(workspace, reporter, size_bytes, tree_bytes=size_bytes // 5)
    scenario.play()
    outcome = Aftermath(scenario, reporter).play()
    if keep:
        with reporter.step(f"{workspace.sites.primary.name} comes back") as step:
            workspace.sites.primary.start()
            workspace.sites.primary.wait_ready()
            step.detail = "and finds itself superseded"
    return outcome


def stop(directory: Path | None) -> list[Path]:
    """End what `keep` or a killed demonstration left; returns the directories."""
    ended = []
    for workspace in left_over(directory):
        if workspace.owned():
            continue
        _remove(workspace)
        ended.append(workspace.directory)
    return ended


def refuse_where_impossible(size_bytes: int) -> None:
    """Name everything that is missing before anything is started."""
    if os.geteuid() != 0:
        raise UsageError(
            "the demonstration needs root: it makes block devices and mounts them",
            hint='Run it with sudo; "pairvol check" lists what else this machine lacks.',
        )
    if size_bytes < SIZE_BYTES_MIN:
        raise UsageError(
            f"a PVOL of {format_size(size_bytes)} is too small for the demonstration",
            hint=f"Give --size at least {format_size(SIZE_BYTES_MIN)}.",
        )
    missing = [finding for finding in (*programs(), *devices()) if finding.level is Level.FAILED]
    for program in FILE_SYSTEM_PROGRAMS:
        if shutil.which(program) is None:
            missing.append(Finding(program, Level.FAILED, "not installed", "apt-get install e2fsprogs mount"))
    if missing:
        raise UsageError(
            "the demonstration cannot run here: " + "; ".join(f"{each.subject} {each.detail}" for each in missing),
            hint="; ".join(dict.fromkeys(each.mend for each in missing)) + ".",
        )


def next_commands(workspace: Workspace) -> list[str]:
    """What to try on sites that were kept."""
    primary, secondary = workspace.sites
    return [
        f"export PAIRVOL_AGENT={secondary.agent_url}",
        f"pairvol pair status {GROUP}",
        f"pairvol journal status {GROUP}",
        "pairvol volume list",
        "pairvol events | tail",
        f"ls {workspace.mount_point(secondary)}",
        f"pairvol --agent {primary.agent_url} pair status {GROUP}    # the other side's view",
        f"pairvol demo --stop --dir {workspace.directory}",
    ]


def _refuse_full_disk(directory: Path, size_bytes: int) -> None:
    free, needed = shutil.disk_usage(directory).free, size_bytes * DISK_SHARE
    if free < needed:
        raise CapacityError(
            f"{directory} has {format_size(free)} free, the demonstration may need {format_size(needed)}",
            hint="Choose another --dir, or a smaller --size.",
        )


def _remove(workspace: Workspace) -> None:
    """Clean up without being interrupted half way: it takes a few seconds at most."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        workspace.remove()
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _signals_as_interrupts() -> Iterator[None]:
    """SIGTERM and SIGHUP end the play as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
