"""Suites that have homes of their own, as rows of `make crash`: kills at system calls, and simulated histories."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from tests.crash.results import Controls, Row, wanted
from tests.crash.write_path.lane import Lane, Lost
from tests.crash.write_path.test_write_path import LANES, MUTANT_PLUGIN, points
from tests.crash.write_path.test_write_path import MUTANTS as KILL_MUTANTS
from tests.simulation.commands.history import CommandHistory
from tests.simulation.commands.mutants import MUTANTS as COMMAND_MUTANTS
from tests.simulation.commands.mutants import mutant
from tests.simulation.history import History
from tests.simulation.mutants import MUTANTS
from tests.simulation.timeline import NoConvergenceError, ViolationError

MUTANT_HISTORIES = 200
COMMAND_MUTANT_HISTORIES = 700


def run_kills(seed: int, count: int, directory: Path, controls: Controls = None) -> Row:
    """SIGKILL of the volume server at system calls of the write path; all that are known, at most `count`."""
    row = Row("kills", seed)
    chosen = points()[:count]

    def run(number: int) -> None:
        with suppress(Lost):
            Lane(directory / f"lane{number}", row).run(chosen[number::LANES])

    with ThreadPoolExecutor(LANES) as pool:
        list(pool.map(run, range(LANES)))
    for name in wanted(KILL_MUTANTS, controls):
        found = Row("kills control", seed)
        lane = Lane(directory / name[:6], found, MUTANT_PLUGIN, {"PAIRVOL_MUTANT": name}, syncing=False)
        with suppress(Lost):
            lane.run(KILL_MUTANTS[name])
        row.control(name, found.lost > 0)
    return row


def run_histories(seed: int, count: int, directory: Path, controls: Controls = None) -> Row:
    """Simulated histories of two agents, two controllers and a bad network; reached when a fault did happen."""
    row = Row("histories", seed)
    for number in range(seed, seed + count):
        row.attempted += 1
        history = History(number)
        try:
            history.run()
        except (ViolationError, NoConvergenceError) as error:
            row.lose(f"python -m tests.simulation.history {number}: {error}")
        row.reached += history.counts["faults"] > 0
    for name in wanted(MUTANTS, controls):
        row.control(name, any(_caught(number, name) for number in range(MUTANT_HISTORIES)))
    return row


def run_commands(seed: int, count: int, directory: Path, controls: Controls = None) -> Row:
    """Simulated histories with an operator, whose commands are cut at any step."""
    row = Row("commands", seed)
    with ProcessPoolExecutor(2) as pool:
        for number, problem, reached in pool.map(_commanded, range(seed, seed + count), chunksize=10):
            row.attempted += 1
            row.reached += reached
            if problem:
                row.lose(f"python -m tests.simulation.commands.history {number}: {problem}")
    for name in wanted(COMMAND_MUTANTS, controls):
        with mutant(name):
            row.control(name, any(_commanded(number)[1] for number in range(COMMAND_MUTANT_HISTORIES)))
    return row


def _commanded(seed: int) -> tuple[int, str, bool]:
    history = CommandHistory(seed)
    try:
        history.run()
    except (ViolationError, NoConvergenceError) as error:
        return seed, str(error), True
    return seed, "", history.counts["deaths in commands"] > 0


def _caught(seed: int, name: str) -> bool:
    try:
        History(seed, MUTANTS[name]).run()
    except (ViolationError, NoConvergenceError):
        return True
    return False
