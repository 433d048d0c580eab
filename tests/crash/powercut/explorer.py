"""Looking at the states that power cuts leave, kind by kind, all into one row."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.crash.log_disk.log import Entry
from tests.crash.log_disk.rebuild import EXT4_TEAR_UNITS, TEAR_UNITS, Cut, Images, Sparse, cuts, states
from tests.crash.order.crowd import Crowd, check_crowd
from tests.crash.powercut.check import Workbench, check_state
from tests.crash.powercut.on_ext4 import laid_out
from tests.crash.powercut.recording import Recording, files_in
from tests.crash.powercut.second_life import live_on, record_second_life
from tests.crash.powercut.two_sites import check_pair, record_pair
from tests.crash.powercut.witness import check_witness, record_witness
from tests.crash.results import Row
from tests.support.processes import Processes

NESTED_POINTS = 20  # second cuts of one first cut

Judge = Callable[[Cut, Images], None]


class Explorer:
    """Cuts and judges. `directory` is in memory; `keep` takes the states that failed; `seed` may change on the way."""

    def __init__(self, row: Row, processes: Processes, directory: Path, keep: Path | None = None) -> None:
        self.row = row
        self.seed = row.seed
        self.processes = processes
        self._directory = directory
        self._keep = keep
        self._folders = 0

    def folder(self) -> Path:
        self._folders += 1
        path = self._directory / str(self._folders)
        path.mkdir()
        return path

    def look(
        self,
        log: Sequence[Entry],
        bases: Mapping[str, bytes],
        points: int,
        judge: Judge,
        within: Sequence[tuple[int, int]] = (),
        until_failure: bool = False,
        units: Sequence[int] = TEAR_UNITS,
        kind: Callable[[bytes], Any] = bytearray,
    ) -> None:
        """Judge states at `points` cuts; `kind` makes their images."""
        for cut, images in states(log, bases, cuts(log, points, self.seed, within, units), kind):
            before = self.row.lost + self.row.order_violations
            judge(cut, images)
            if self.row.lost + self.row.order_violations > before:
                self._keep_state(cut, images)
                if until_failure:
                    return

    def _keep_state(self, cut: Cut, images: Images) -> None:
        if self._keep is not None and len(self.row.examples) <= 3:
            folder = self._keep / f"{self.row.suite}-{self.seed}-{cut.index}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "cut").write_text(f"{cut}\n")
            for name, image in images.items():
                if isinstance(image, Sparse):
                    image.write_to(folder / name)
                else:
                    (folder / name).write_bytes(image)

    def serial(self, recording: Recording, points: int, restarts: int, until_failure: bool = False) -> None:
        """One writer, exact: some of the cuts while the server starts again."""
        bench = Workbench(self.folder())

        def judge(cut: Cut, images: Images) -> None:
            label = f"seed {self.seed}, cut {cut}"
            check_state(self.row, label, bench.lay_out(images), recording.history, cut.before_ns)

        self.look(recording.log, recording.bases, points, judge, _busy(recording), until_failure)
        if recording.restarts:
            self.look(recording.log, recording.bases, restarts, judge, recording.restarts, until_failure)

    def lives_on(self, recording: Recording, points: int, until_failure: bool = False) -> None:
        """After a cut the group is written to again, and its server killed."""
        bench = Workbench(self.folder())

        def judge(cut: Cut, images: Images) -> None:
            files = bench.lay_out(images)
            promised = recording.history.promised(cut.before_ns)
            life = live_on(files, recording.history, promised, random.Random(cut.index))
            check_state(self.row, f"second life after {cut}", files, life, time.monotonic_ns())

        self.look(recording.log, recording.bases, points, judge, _busy(recording), until_failure)

    def cut_again(self, recording: Recording, points: int) -> None:
        """The recovery after a cut, and a little life after it, are cut themselves."""
        bench = Workbench(self.folder())

        def judge(first: Cut, images: Images) -> None:
            life = record_second_life(self.processes, self.folder(), first, images, recording.history, self.seed)

            def judge_again(second: Cut, images: Images) -> None:
                label = f"cut {first}, then {second}"
                check_state(self.row, label, bench.lay_out(images), life.history, second.before_ns)

            self.look(life.log, life.bases, NESTED_POINTS, judge_again)

        self.look(recording.log, recording.bases, max(1, points // NESTED_POINTS), judge, _busy(recording))

    def on_ext4(self, recording: Recording, points: int) -> None:
        folder = self.folder()

        def judge(cut: Cut, images: Images) -> None:
            with laid_out(folder, images) as group:
                label = f"seed {self.seed}, on ext4, cut {cut}"
                check_state(self.row, label, files_in(group, 2), recording.history, cut.before_ns)

        self.look(recording.log, recording.bases, points, judge, _busy(recording), units=EXT4_TEAR_UNITS)

    def crowd(self, crowd: Crowd, points: int, until_failure: bool = False) -> None:
        """Several writers at once."""
        volumes = sum(name.startswith("vol") for name in crowd.bases)
        bench = Workbench(self.folder(), volumes)

        def judge(cut: Cut, images: Images) -> None:
            label = f"seed {self.seed}, {volumes} volumes, cut {cut}"
            promised_ns = crowd.promised_ns(cut.before_ns)
            check_crowd(self.row, label, bench.lay_out(images), crowd, cut.before_ns, promised_ns)

        began_ns = crowd.stamps.writes[0].issued_ns
        self.look(crowd.log, crowd.bases, points, judge, [(began_ns, crowd.log[-1].time_ns)], until_failure)

    def killed(self, crowd: Crowd) -> None:
        """The server was killed and the machine lives: every acknowledged write must be there."""
        volumes = sum(name.startswith("vol") for name in crowd.bases)
        files = Workbench(self.folder(), volumes).lay_out(crowd.killed)
        now = time.monotonic_ns()
        check_crowd(self.row, f"seed {self.seed}, {volumes} volumes, killed", files, crowd, now, now)

    def both_sites(self, points: int) -> None:
        pair = record_pair(self.processes, self.folder(), self.seed, 500)
        folder = self.folder()

        def judge(cut: Cut, images: Images) -> None:
            check_pair(self.row, f"seed {self.seed}, both sites, cut {cut}", folder, images, pair, cut.before_ns)

        self.look(pair.recording.log, pair.recording.bases, points, judge, _busy(pair.recording))

    def witness(self, points: int) -> None:
        testimony = record_witness(self.processes, self.folder(), 80)
        folder = self.folder()

        def judge(cut: Cut, images: Images) -> None:
            check_witness(self.row, f"witness, cut {cut}", folder, images, testimony, cut.before_ns)

        times = [(testimony.commits[0], testimony.log[-1].time_ns)]
        self.look(testimony.log, testimony.bases, points, judge, times)


def _busy(recording: Recording) -> list[tuple[int, int]]:
    """From the first operation to the end of the log."""
    return [(recording.history.operations[0].issued_ns, recording.log[-1].time_ns)]
