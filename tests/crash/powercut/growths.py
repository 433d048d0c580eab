"""`make crash SUITE=growing`: cuts in the life of a pair whose journals move and whose volumes join, grow and leave."""

from __future__ import annotations

from pathlib import Path

from tests.crash.log_disk.rebuild import EXT4_TEAR_UNITS, Cut, Images, Sparse
from tests.crash.powercut.explorer import Explorer
from tests.crash.powercut.growing import (
    GROWING,
    Growth,
    Stage,
    copy_directly,
    found,
    grow,
    join,
    move_journals,
    record_growth,
)
from tests.crash.powercut.growing_check import GrowingInquest
from tests.crash.powercut.growing_mutants import MUTANTS
from tests.crash.powercut.life_check import Bench
from tests.crash.results import Controls, Row, wanted
from tests.support.processes import PROJECT, Processes

POINTS_PER_ROUND = 250  # each round has a recording of its own
CONTROL_TRIES, CONTROL_POINTS = 3, 120
MUTANT_MODULE = "tests.crash.powercut.growing_mutants"
SHORT_OF = {
    "size before its store": grow,
    "journal switched before a sync": move_journals,
    "member before its marks": join,
}


def run(
    seed: int,
    points: int,
    directory: Path,
    controls: Controls = None,
    stages: tuple[Stage, ...] = GROWING,
    keep: Path | None = PROJECT / "build" / "crash",
) -> Row:
    row = Row("growing", seed)
    with Processes(directory / "logs") as processes:
        explorer = Explorer(row, processes, directory, keep)
        for done in range(0, points, POINTS_PER_ROUND):
            explorer.seed = seed + done
            recording = record_growth(processes, explorer.folder(), explorer.seed, stages)
            look_at(explorer, recording, min(POINTS_PER_ROUND, points - done))
        for name in wanted(MUTANTS, controls):
            row.control(name, any(_caught(name, seed + n, processes, directory) for n in range(CONTROL_TRIES)))
    return row


def look_at(explorer: Explorer, recording: Growth, points: int, until_failure: bool = False) -> None:
    """Most cuts fall where an order is under way: what is between them lasts much longer and tells little."""
    notes = recording.notes
    ended = recording.log[-1].time_ns
    orders = [(change.issued_ns, min(change.answered_ns + 50_000_000, ended)) for change in notes.changes]
    with Bench(recording.directory) as bench:

        def judge(cut: Cut, images: Images) -> None:
            label = f"seed {explorer.seed}, growing, cut {cut}"
            with bench.laid_out(images):
                GrowingInquest(explorer.row, label, notes, cut.before_ns, recording.directory).hold()

        parts = ((points * 6 // 10, orders), (points - points * 6 // 10, [(notes.begun_ns, ended)]))
        for share, within in parts:
            explorer.look(recording.log, recording.bases, share, judge, within, until_failure, EXT4_TEAR_UNITS, Sparse)


def _caught(name: str, seed: int, processes: Processes, directory: Path) -> bool:
    row = Row(f"growing control {name}", seed)
    folder = directory / f"growing{sum(1 for _ in directory.iterdir())}"
    folder.mkdir()
    explorer = Explorer(row, processes, folder)
    stages = (found, copy_directly, SHORT_OF[name])
    recording = record_growth(processes, explorer.folder(), seed, stages, MUTANT_MODULE, name)
    look_at(explorer, recording, CONTROL_POINTS, until_failure=True)
    return not row.holds
