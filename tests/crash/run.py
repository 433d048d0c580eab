"""`make crash`: every crash suite at full length, one table, and build/crash.json.

    python -m tests.crash.run [SUITE ...] [--points N] [--seed S] [--jobs N] [--no-controls]

Without names all are run, several at once, each in a process of its own: most
wait more than they work. POINTS is how many faults each shall attempt.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.crash.results import Controls, Row
from tests.support.leftovers import leftovers
from tests.support.namespaces import own_mounts
from tests.support.processes import PROJECT

BUILD = PROJECT / "build"
COLUMNS = ("suite", "seed", "attempted", "reached", "lost", "order_violations", "controls", "controls_caught")


@dataclass(frozen=True, slots=True)
class Suite:
    """Where a suite is, a function of seed, points, directory and controls, and how many points are its full length."""

    function: str  # module:name
    points: int
    what: str


SUITES = {
    "kills": Suite("tests.crash.others:run_kills", 1000, "SIGKILL at system calls of the write path"),
    "bytecodes": Suite("tests.crash.bytecodes.suite:run", 540, "SIGKILL at bytecodes of the write path"),
    "histories": Suite("tests.crash.others:run_histories", 10_000, "simulated agents, controllers and networks"),
    "commands": Suite("tests.crash.others:run_commands", 1000, "simulated operators, commands cut at any step"),
    "transitions": Suite("tests.crash.transitions.suite:run", 400, "agents killed after every step of every command"),
    "programs": Suite(
        "tests.crash.transitions.programs:run", 200, "controllers killed at every step of copy and resync"
    ),
    "powercut": Suite("tests.crash.powercut.suite:run_full", 5300, "disks as a power cut leaves them, both sites"),
    "growing": Suite("tests.crash.powercut.growths:run", 300, "cuts while journals move, volumes join, grow and leave"),
    "order": Suite("tests.crash.order.suite:run", 1000, "writers over two to four volumes, cut and killed"),
    "suspended": Suite("tests.crash.suspended.suite:run", 500, "a full journal, writes tracked by region, cut"),
    "hostile": Suite("tests.crash.hostile.suite:run", 100_000, "mutated records through checks and copy path"),
    "network": Suite("tests.crash.network.suite:run", 14, "two sites in namespaces, and what a network does to them"),
    "disks": Suite("tests.crash.disk_errors.suite:run_full", 1, "EIO and ENOSPC on every file of a group"),
}
PARTS = {  # of the suites above, for the mutants
    "serial": Suite("tests.crash.powercut.suite:run_serial", 300, "power cuts under one writer"),
    "lives": Suite("tests.crash.powercut.suite:run_lives", 400, "power cuts under both controllers and their state"),
    "journal-errors": Suite("tests.crash.disk_errors.suite:run_journal", 1, "EIO on a journal"),
}
ALL = SUITES | PARTS
LONG: Final = ("transitions", "programs", "powercut", "growing")


def load(suite: Suite) -> Callable[[int, int, Path, Controls], Row]:
    module, _, name = suite.function.partition(":")
    function: Callable[[int, int, Path, Controls], Row] = getattr(import_module(module), name)
    return function


def run_suite(name: str, seed: int, points: int | None, controls: Controls) -> tuple[Row, float]:
    """One suite in a folder of its own in memory; `points`: None for its full length."""
    print(f"{name}: {ALL[name].what} ...", flush=True)
    own_mounts()
    points = points or ALL[name].points
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pairvol-", dir="/dev/shm") as directory:
        row = load(ALL[name])(seed, points, Path(directory), controls)
        for left in leftovers([Path(directory)]):
            row.lose(f"left behind: {left}")
    return row, time.monotonic() - began


def table(rows: list[tuple[Row, float]]) -> Table:
    made = Table("suite", title="crash suites")
    for heading in ("seed", "attempted", "reached", "lost", "disorder", "controls", "s"):
        made.add_column(heading, justify="right")
    for row, seconds in rows:
        counts = (row.seed, row.attempted, row.reached, row.lost, row.order_violations)
        controls = f"{row.controls_caught}/{row.controls}"
        made.add_row(row.suite, *map(str, counts), controls, f"{seconds:.0f}", style="" if row.holds else "bold red")
    return made


def document(rows: list[tuple[Row, float]]) -> list[dict[str, object]]:
    """What build/crash.json holds."""
    return [{name: asdict(row)[name] for name in COLUMNS} for row, _ in rows]


def run_suites(words: argparse.Namespace, console: Console) -> list[tuple[Row, float]]:
    """All that were asked for, in the order of their names there; each is told when it ends."""
    names, controls = words.suites or list(SUITES), None if words.controls else ()
    spawn = multiprocessing.get_context("spawn")
    done: dict[str, tuple[Row, float]] = {}
    with ProcessPoolExecutor(words.jobs, spawn, max_tasks_per_child=1) as pool:
        runs = {pool.submit(run_suite, name, words.seed, words.points, controls): name for name in longest_first(names)}
        for run in as_completed(runs):
            if (error := run.exception()) is not None:  # the others go on: an hour of theirs is not to be lost
                traceback.print_exception(error)
                done[runs[run]] = Row(runs[run], words.seed, examples=[f"the suite broke off: {error}"]), 0.0
            else:
                done[runs[run]] = run.result()
            console.print(str(done[runs[run]][0]), highlight=False)
    return [done[name] for name in names]


def longest_first(names: Sequence[str]) -> list[str]:
    """So that no long one is left for the end."""
    return sorted(names, key=lambda name: name not in LONG)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make crash", description=__doc__, allow_abbrev=False)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of: {', '.join(SUITES)}")
    parser.add_argument("--points", type=int, help="faults to attempt, in each suite")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="suites at once")
    parser.add_argument("--no-controls", dest="controls", action="store_false", help="leave the mutants out")
    words = parser.parse_args()
    if unknown := [name for name in words.suites if name not in ALL]:
        parser.error(f"no suite {unknown[0]}; there are: {', '.join(SUITES)}")
    console = Console()
    rows = run_suites(words, console)
    console.print(table(rows))
    BUILD.mkdir(exist_ok=True)
    (BUILD / "crash.json").write_text(json.dumps(document(rows), indent=1) + "\n")
    return 0 if all(row.holds for row, _ in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
