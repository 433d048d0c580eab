"""Disks that fail under the copy and restore programs: the failure is named, nothing is confirmed that a cut can take.

After the disk is mended an explicit order lets the group go on, and the SVOL
becomes the PVOL.
"""

from __future__ import annotations

import errno
import gc
import os
import random
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from controller.api.models import CopyMode, CopyOrder, CopySource, Links
from controller.copy.worker import SecondaryGroup
from controller.errors import PairvolError
from controller.journal.layout import group_tag
from controller.journal.pointers import Pointer, PointerPage, Position
from tests.crash.disk_errors.primary import Case
from tests.crash.hostile.model import apply_run
from tests.crash.hostile.mutations import Run, make_run
from tests.crash.hostile.oracle import Group
from tests.crash.hostile.peer import HostilePrimary
from tests.crash.links import copy_source
from tests.crash.log_disk.disks import LogDisks
from tests.crash.log_disk.rebuild import Cut, cuts, states
from tests.crash.powercut.recording import VOLUME_BYTES, VOLUME_SECTORS, files_in, make_files
from tests.crash.powercut.two_sites import opened_group
from tests.crash.results import Row
from tests.crash.server import GROUP_UUID, SiteFiles
from tests.support.nbdkit import start_nbdkit, unix_uri
from tests.support.processes import Processes
from tests.support.waiting import wait_until

RUN_RECORDS = 24
POINTS = 20

CASES = [
    Case(disk, what, number)
    for disk in ("journal", "pointers", "vol0")
    for what in ("write", "flush")
    for number in (errno.EIO, errno.ENOSPC)
]


@dataclass
class Story:
    """What the primary had, and what the secondary confirmed when."""

    runs: list[Run] = field(default_factory=list)
    confirmed: list[tuple[int, int]] = field(default_factory=list)

    def image(self, sequence: int) -> bytearray:
        images = {0: bytearray(VOLUME_BYTES)}
        for run in self.runs:
            apply_run(images, run, min(RUN_RECORDS, max(0, sequence - run.group.sequence)))
        return images[0]

    @property
    def end(self) -> int:
        return sum(len(run.records) for run in self.runs)


def run_case(row: Row, processes: Processes, directory: Path, case: Case) -> None:
    """Copy, let the disk fail, copy on, mend the disk, order anew, end; then cut at any moment of it."""
    base = make_files(directory / "base", 1)
    images = {"journal": base.journal, "pointers": base.pointers, "vol0": base.volumes[0]}
    disks = LogDisks(processes, directory, images)
    primary = HostilePrimary(directory, GROUP_UUID, 1)
    story, chooser = Story(), random.Random(row.seed)
    row.attempted += 1
    with disks.files() as paths:
        files = SiteFiles(paths["journal"], paths["pointers"], [paths["vol0"]], VOLUME_BYTES, directory / "dirty")
        source = _served(processes, directory, primary)
        _live(row, case, disks, files, source, lambda: _extend(primary, story, chooser), story, directory)
        gc.collect()  # the traceback of the failure, a cycle, holds views of the journal
    primary.close()
    row.reached += 1
    log = disks.log()
    end = Cut(len(log) - 1, log[-1].time_ns + 1, "prefix")
    for cut, state in states(log, disks.bases, [*cuts(log, POINTS, row.seed), end]):
        bench = directory / "bench"
        bench.mkdir(exist_ok=True)
        for name, image in state.items():
            (bench / name).write_bytes(image)
        _judge_cut(row, f"{case}, cut {cut}", files_in(bench, 1), story, cut.before_ns)


def _live(
    row: Row,
    case: Case,
    disks: LogDisks,
    files: SiteFiles,
    source: CopySource,
    extend: Callable[[], None],
    story: Story,
    directory: Path,
) -> None:
    """The life of the secondary group, from its first order to its end."""
    follow = CopyOrder(source=source, lease_seconds=600)
    with (
        closing(PointerPage.open(str(files.pointers))) as pointers,
        opened_group(files, directory / "initial-copy") as group,
    ):
        extend()
        group.order_copy(follow)
        _until_restored(group, story, pointers)
        with disks.failing(case.disk, case.what, case.number):
            extend()
            wait_until(lambda: _look(story, pointers) or group.snapshot().failure, 20, f"{case} to show")
        _judge_words(row, case, group)
        group.order_copy(CopyOrder(source=source, mode=CopyMode.ONCE))
        group.order_restore()
        group.order_copy(follow)
        extend()
        _until_restored(group, story, pointers)


def _extend(primary: HostilePrimary, story: Story, chooser: random.Random) -> None:
    """The primary has one more run of journals, durable."""
    last = story.runs[-1].records[-1] if story.runs else None
    position = int(last["data_position"]) + int(last["data_blocks"]) if last is not None else 0
    group = Group(story.end, position, group_tag(GROUP_UUID), range(1, 2), {0: VOLUME_SECTORS})
    run = make_run(chooser, group, RUN_RECORDS)
    story.runs.append(run)
    primary.serve(run, Position(story.end, position + len(run.data) // 512))


def _served(processes: Processes, directory: Path, primary: HostilePrimary) -> CopySource:
    uris = []
    for path in (primary.journal_path, primary.pointers_path):
        socket = directory / f"{path.name}.sock"
        start_nbdkit(processes, socket, ["-r", "file", path], f"{directory.name}-{path.name}")
        uris.append(unix_uri(socket))
    links = Links(journal_uri=uris[0], pointers_uri=uris[1], volume_uris={})
    return copy_source(primary.journal_path, links=links)


def _look(story: Story, pointers: PointerPage) -> bool:
    """Take note of what is confirmed."""
    story.confirmed.append((time.monotonic_ns(), pointers.read(Pointer.ALREADY_READ).sequence))
    return False


def _until_restored(group: SecondaryGroup, story: Story, pointers: PointerPage) -> None:
    def restored() -> bool:
        _look(story, pointers)
        return pointers.read(Pointer.ALREADY_RESTORED).sequence == story.end

    wait_until(restored, 20, f"journal {story.end} to be restored; failure: {group.snapshot().failure}")


def _judge_words(row: Row, case: Case, group: SecondaryGroup) -> None:
    failure = group.snapshot().failure
    assert failure is not None
    if os.strerror(case.number).lower() not in failure.message.lower() or failure.error != "StorageError":
        row.lose(f"{case}: the failure does not name it: {failure}")
    if case.disk not in failure.message:
        row.lose(f"{case}: the failure does not name the file: {failure}")


def _judge_cut(row: Row, label: str, files: SiteFiles, story: Story, before_ns: int) -> None:
    confirmed = max((sequence for moment, sequence in story.confirmed if moment < before_ns), default=0)
    try:
        with opened_group(files, files.journal.with_name("initial-copy")) as group:
            restored = group.finish_restore(20).sequence
    except PairvolError as error:
        row.lose(f"{label}: {error.message}")
        return
    if restored < confirmed:
        row.lose(f"{label}: {confirmed} journals were confirmed, {restored} are there")
    if files.volumes[0].read_bytes() != story.image(restored):
        row.disorder(f"{label}: the SVOL is not what journal {restored} makes it")
