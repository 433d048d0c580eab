"""Cuts in the life of a pair: the states that they leave, and cuts while those are being recovered or taken over."""

from __future__ import annotations

from pathlib import Path

from tests.crash.log_disk.disks import LogDisks
from tests.crash.log_disk.rebuild import EXT4_TEAR_UNITS, Cut, Images, Sparse
from tests.crash.powercut.explorer import Explorer, Judge
from tests.crash.powercut.life import (
    LifeRecording,
    found,
    record_life,
    take_over_forced,
    take_over_from_safe_point,
)
from tests.crash.powercut.life_check import Bench, Inquest
from tests.crash.powercut.logged_sites import mounted_sites
from tests.crash.powercut.mutant_controller import MUTANTS
from tests.crash.results import Controls, Row, wanted
from tests.support.processes import Processes

NESTED_POINTS = 20  # second cuts of one first cut
CONTROL_TRIES, CONTROL_POINTS = 3, 150
MUTANT_MODULE = "tests.crash.powercut.mutant_controller"
SAFE_POINT_MUTANT = "safe point without sync"


def explore_lives(explorer: Explorer, points: int, again: int) -> None:
    """`points` states of one life, and `again` states of second cuts."""
    recording = record_life(explorer.processes, explorer.folder(), explorer.seed)
    look_at(explorer, recording, points)
    if again:
        cut_again(explorer, recording, again)


def look_at(explorer: Explorer, recording: LifeRecording, points: int, until_failure: bool = False) -> None:
    with Bench(recording.directory) as bench:

        def judge(cut: Cut, images: Images) -> None:
            label = f"seed {explorer.seed}, a life, cut {cut}"
            with bench.laid_out(images):
                Inquest(explorer.row, label, recording.chronicle, cut.before_ns, recording.directory).hold()

        _look(explorer, recording, points, judge, until_failure)


def cut_again(explorer: Explorer, recording: LifeRecording, points: int) -> None:
    """The start after a cut, and the takeover of what is a secondary then, are cut themselves."""

    def judge(first: Cut, images: Images) -> None:
        label = f"seed {explorer.seed}, a life, cut {first}"
        second = record_recovery(explorer, recording, first, images, label)
        with Bench(recording.directory) as bench:

            def judge_again(cut: Cut, images: Images) -> None:
                words = f"{label}, then {cut}"
                with bench.laid_out(images):
                    Inquest(explorer.row, words, second.chronicle, cut.before_ns, second.directory).hold()

            _look(explorer, second, min(points, NESTED_POINTS), judge_again)

    _look(explorer, recording, max(1, points // NESTED_POINTS), judge)


def record_recovery(
    explorer: Explorer, recording: LifeRecording, first: Cut, images: Images, label: str
) -> LifeRecording:
    """What a start after a cut writes, on log-writes disks that begin as that cut left them."""
    folder = explorer.folder()
    bases = {site: folder / f"{site}.base" for site in images}
    for site, image in images.items():
        image.write_to(bases[site])
    disks = LogDisks(explorer.processes, folder, bases)
    with mounted_sites(disks, recording.directory):
        inquest = Inquest(explorer.row, label, recording.chronicle, first.before_ns, recording.directory)
        notes = inquest.hold()
    return LifeRecording(disks.log(), disks.bases, notes, recording.directory)


def _look(explorer: Explorer, recording: LifeRecording, points: int, judge: Judge, until_failure: bool = False) -> None:
    began_ns = min(recording.chronicle.writes[0].issued_ns, recording.log[-1].time_ns)
    times = [(began_ns, recording.log[-1].time_ns)]
    explorer.look(recording.log, recording.bases, points, judge, times, until_failure, EXT4_TEAR_UNITS, Sparse)


def control(row: Row, processes: Processes, directory: Path, controls: Controls = None) -> None:
    """Every mutant of the controller, until it is caught or was tried often enough."""
    for name in wanted(MUTANTS, controls):
        row.control(name, any(_caught(name, row.seed + n, processes, directory) for n in range(CONTROL_TRIES)))


def _caught(name: str, seed: int, processes: Processes, directory: Path) -> bool:
    row = Row(f"powercut control {name}", seed)
    folder = directory / f"lives{sum(1 for _ in directory.iterdir())}"
    folder.mkdir()
    explorer = Explorer(row, processes, folder)
    stages = (found, take_over_from_safe_point if name == SAFE_POINT_MUTANT else take_over_forced)
    recording = record_life(processes, explorer.folder(), seed, stages, MUTANT_MODULE, name)
    look_at(explorer, recording, CONTROL_POINTS, until_failure=True)
    return not row.holds
