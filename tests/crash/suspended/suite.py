"""Suspended groups through power cuts: journal full or broken, direct writes tracked, back to the journal."""

from __future__ import annotations

from pathlib import Path

from tests.crash.log_disk.rebuild import EXT4_TEAR_UNITS, Cut, Images
from tests.crash.powercut.explorer import Explorer
from tests.crash.powercut.mutants import SUSPENSION_MUTANTS
from tests.crash.powercut.suite import MUTANT_SCRIPT
from tests.crash.results import Controls, Row, wanted
from tests.crash.suspended.check import check_cut
from tests.crash.suspended.recording import Suspension, record_suspension
from tests.support.processes import Processes

CONTROL_TRIES, CONTROL_POINTS = 3, 150
POINTS_PER_ROUND = 500


def run(seed: int, points: int, directory: Path, controls: Controls = None) -> Row:
    """`points` states, three in four of a full journal and one of a broken one."""
    row = Row("suspended", seed)
    with Processes(directory / "logs") as processes:
        explorer = Explorer(row, processes, directory)
        for done in range(0, points, POINTS_PER_ROUND):
            explorer.seed = seed + done
            count = min(POINTS_PER_ROUND, points - done)
            for broken, share in ((False, count * 3 // 4), (True, count - count * 3 // 4)):
                suspension = record_suspension(processes, explorer.folder(), explorer.seed, broken=broken)
                if not suspension.died_in_a_mark:
                    row.lose(f"seed {explorer.seed}: a region was marked without a sync")
                look(explorer, suspension, share)
        for name in wanted(SUSPENSION_MUTANTS, controls):
            caught = any(_caught(explorer.folder(), name, seed + n, processes) for n in range(CONTROL_TRIES))
            row.control(name, caught)
    return row


def look(explorer: Explorer, suspension: Suspension, points: int, until_failure: bool = False) -> None:
    folder = explorer.folder()

    def judge(cut: Cut, images: Images) -> None:
        check_cut(explorer.row, cut, folder, images, suspension)

    recording = suspension.recording
    times = [(recording.history.operations[0].issued_ns, recording.log[-1].time_ns)]
    explorer.look(recording.log, recording.bases, points, judge, times, until_failure, EXT4_TEAR_UNITS)


def _caught(directory: Path, name: str, seed: int, processes: Processes) -> bool:
    found = Row("suspended control", seed)
    explorer = Explorer(found, processes, directory)
    environment = {"PAIRVOL_MUTANT": name}
    suspension = record_suspension(processes, explorer.folder(), seed, script=MUTANT_SCRIPT, environment=environment)
    look(explorer, suspension, CONTROL_POINTS, until_failure=True)
    return not found.holds
