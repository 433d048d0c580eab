"""Power cuts: what is recorded, how many states of each kind are looked at, and the mutants that must be caught."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from multiprocessing import get_context
from pathlib import Path

from tests.crash.order.crowd import record_crowd
from tests.crash.powercut import lives
from tests.crash.powercut.explorer import Explorer
from tests.crash.powercut.mutant_controller import MUTANTS as CONTROLLER_MUTANTS
from tests.crash.powercut.mutants import SERVER_MUTANTS, nothing_wiped
from tests.crash.powercut.on_ext4 import record_on_ext4
from tests.crash.powercut.recording import record
from tests.crash.results import Controls, Row, wanted
from tests.support.processes import PROJECT, Processes

MUTANT_SCRIPT = Path(__file__).with_name("mutant_server.py")
POINTS_PER_ROUND = 1000  # each round has recordings of its own
CONTROL_TRIES, CONTROL_POINTS = 4, 300
WORKERS = 2
NOTHING_WIPED = "nothing wiped"


def run_full(seed: int, points: int, directory: Path, controls: Controls = None) -> Row:
    """For `make crash`: rounds and controls side by side, and states that fail are kept under build/."""
    row = Row("powercut", seed)
    with ProcessPoolExecutor(WORKERS, get_context("spawn")) as pool:
        begun = range(0, points, POINTS_PER_ROUND)
        rounds = [
            pool.submit(_round, seed + done, min(POINTS_PER_ROUND, points - done), directory / f"r{number}")
            for number, done in enumerate(begun)
        ]
        wanted_names = wanted((*SERVER_MUTANTS, NOTHING_WIPED, *CONTROLLER_MUTANTS), controls)
        tried = [pool.submit(_control_alone, n, seed, directory / f"c{at}") for at, n in enumerate(wanted_names)]
        for part in (*rounds, *tried):
            row.add(part.result())
    return row


def _round(seed: int, points: int, directory: Path) -> Row:
    return run(seed, points, directory, PROJECT / "build" / "crash", ())


def _control_alone(name: str, seed: int, directory: Path) -> Row:
    """A row of that control only."""
    return run(seed, 0, directory, controls=(name,))


def run_serial(seed: int, points: int, directory: Path, controls: Controls = None) -> Row:
    """One writer on raw disks alone: the quickest part."""
    row = Row("serial", seed)
    with Processes(directory / "logs") as processes:
        explorer = Explorer(row, processes, directory)
        for explorer.seed in range(seed, seed + 3):
            recording = record(processes, explorer.folder(), explorer.seed, 400)
            explorer.serial(recording, points // 4, points // 20)
            explorer.lives_on(recording, points // 20)
    return row


def run(seed: int, points: int, directory: Path, keep: Path | None = None, controls: Controls = None) -> Row:
    """`points` states; `directory` should lie in memory."""
    row = Row("powercut", seed)
    directory.mkdir(exist_ok=True)
    with Processes(directory / "logs") as processes:
        explorer = Explorer(row, processes, directory, keep)
        for done in range(0, points, POINTS_PER_ROUND):
            explorer.seed = seed + done
            explore(explorer, min(POINTS_PER_ROUND, points - done))
        control(row, processes, directory, controls)
        lives.control(row, processes, directory, controls)
    return row


def run_lives(seed: int, points: int, directory: Path, controls: Controls = None) -> Row:
    """Both controllers and their state alone."""
    row = Row("lives", seed)
    with Processes(directory / "logs") as processes:
        explorer = Explorer(row, processes, directory, PROJECT / "build" / "crash")
        for done in range(0, points, POINTS_PER_ROUND):
            explorer.seed = seed + done
            share = min(POINTS_PER_ROUND, points - done)
            lives.explore_lives(explorer, share * 75 // 100, share * 25 // 100)
        lives.control(row, processes, directory, controls)
    return row


def explore(explorer: Explorer, points: int) -> None:
    """States of every kind; the shares are by what a state costs and what it can find."""
    processes, seed = explorer.processes, explorer.seed
    recording = record(processes, explorer.folder(), seed, 600, kills=2)
    explorer.serial(recording, points * 25 // 100, points * 10 // 100)
    explorer.lives_on(recording, points * 5 // 100)
    explorer.cut_again(recording, points * 7 // 100)
    explorer.on_ext4(record_on_ext4(processes, explorer.folder(), seed, 300), points * 10 // 100)
    explorer.crowd(record_crowd(processes, explorer.folder(), seed, 2 + seed % 3, 600), points * 10 // 100)
    explorer.both_sites(points * 10 // 100)
    explorer.witness(points * 8 // 100)
    lives.explore_lives(explorer, points * 10 // 100, points * 5 // 100)


def control(row: Row, processes: Processes, directory: Path, controls: Controls = None) -> None:
    """Every mutant, until it is caught or was tried often enough: when it errs depends on the moment."""
    for name in wanted(SERVER_MUTANTS, controls):
        row.control(name, any(_server_caught(name, row.seed + n, processes, directory) for n in range(CONTROL_TRIES)))
    if wanted((NOTHING_WIPED,), controls):
        seeds = range(row.seed, row.seed + CONTROL_TRIES)
        row.control(NOTHING_WIPED, any(_recovery_caught(nothing_wiped(), n, processes, directory) for n in seeds))


def _server_caught(name: str, seed: int, processes: Processes, directory: Path) -> bool:
    found = Row(f"powercut control {name}", seed)
    explorer = Explorer(found, processes, _folder(directory))
    kills = 3 if name.startswith("replay") else 0
    environment = {"PAIRVOL_MUTANT": name}
    recording = record(
        processes, explorer.folder(), seed, 300, script=MUTANT_SCRIPT, environment=environment, kills=kills
    )
    explorer.serial(recording, CONTROL_POINTS, CONTROL_POINTS, until_failure=True)
    return not found.holds


def _recovery_caught(mutant: AbstractContextManager[None], seed: int, processes: Processes, directory: Path) -> bool:
    found = Row("powercut control of recovery", seed)
    explorer = Explorer(found, processes, _folder(directory))
    recording = record(processes, explorer.folder(), seed, 600)
    with mutant:
        explorer.lives_on(recording, 4 * CONTROL_POINTS, until_failure=True)
    return not found.holds


def _folder(directory: Path) -> Path:
    number = sum(1 for _ in directory.glob("control*"))
    path = directory / f"control{number}"
    path.mkdir()
    return path
