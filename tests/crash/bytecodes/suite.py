"""SIGKILL of the volume server just before a bytecode of its write path, hundreds of them, over the same files.

A survey counts which bytecodes a workload runs, and how often. Each point is
one of them and one of its times; the life after it begins with what that one
left, and is held against what was acknowledged (write_path/lane.py).
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from tests.crash.results import Controls, Row, wanted
from tests.crash.write_path.lane import Lane, Lost, Point

PLUGIN = Path(__file__).with_name("plugin.py")
LANES = 3
SURVEY_STEPS = 60
TIMES_MAX = 6  # of a bytecode's runs, those that may be the last
STEPS_MAX = 80
APPENDS = ("plain", "compiled")
# Each with the functions whose bytecodes its mistake must show at.
MUTANTS = {
    "volume before journal": ("commit.py:", "apply.py:", "destage.py:"),
    "checkpoint before destage": ("apply.py:", "destage.py:"),
    "acknowledged before journal": ("append.py:", "journaled.py:", "plugin.py:"),
}
CONTROL_POINTS = 25  # the first that shows the mistake ends it


class BytecodeLane(Lane):
    """Points are bytecodes: Point.call names one."""

    steps_max = STEPS_MAX

    def __init__(self, directory: Path, row: Row, environment: Mapping[str, str], syncing: bool = True) -> None:
        super().__init__(directory, row, PLUGIN, environment, syncing)
        self._always = dict(environment)

    def survey(self) -> dict[str, int]:
        """How often each bytecode is run by some work and the end after it."""
        path = self.files.directory / "survey"
        with self.processes:
            self._environment = self._always | {"PAIRVOL_SURVEY": str(path)}
            server = self._start()
            self._work(SURVEY_STEPS)
            self.processes.stop(server, 60.0)
        counts: dict[str, int] = json.loads(path.read_text())
        return counts

    def _kill_at(self, point: Point) -> None:
        self._environment = self._always | {"PAIRVOL_KILL": f"{point.call}#{point.when}"}
        server = self._start()
        self._environment = self._always
        self._check_recovered(str(point))
        self._work(self.steps_max)
        if not self._dying(server):
            self._stop(server)
            self.missed.append(point)  # counted apart
            return
        self.row.reached += 1
        self._check_stores(str(point))


def points(counts: Mapping[str, int], wanted_count: int, chooser: random.Random) -> list[Point]:
    """That many bytecodes in random order, each at one of its times; all of them before any a second time."""
    chosen: list[Point] = []
    while counts and len(chosen) < wanted_count:
        for place in chooser.sample(sorted(counts), len(counts)):
            chosen.append(Point(place, chooser.randint(1, min(TIMES_MAX, counts[place]))))
    return chosen[:wanted_count]


def run(seed: int, count: int, directory: Path, controls: Controls = None) -> Row:
    """Half of the points with the append step in Python, half with the compiled one."""
    row = Row("bytecodes", seed)
    chooser = random.Random(seed)
    for append, share in zip(APPENDS, (count - count // 2, count // 2), strict=True):
        environment = {"PAIRVOL_APPEND": append}
        counts = BytecodeLane(directory / f"{append}-survey", Row("survey", seed), environment).survey()
        chosen = points(counts, share, chooser)
        lanes = [BytecodeLane(directory / f"{append}{number}", row, environment) for number in range(min(LANES, share))]
        with ThreadPoolExecutor(LANES) as pool:
            list(pool.map(_run_lane, lanes, [chosen[number::LANES] for number in range(len(lanes))]))
    for name in wanted(MUTANTS, controls):
        row.control(name, _caught(name, seed, directory / name.replace(" ", "-")[:12]))
    return row


def _run_lane(lane: Lane, chosen: Sequence[Point]) -> None:
    with suppress(Lost):
        lane.run(list(chosen))


def _caught(name: str, seed: int, directory: Path) -> bool:
    row = Row("bytecodes control", seed)
    environment = {"PAIRVOL_APPEND": "plain", "PAIRVOL_MUTANT": name}
    counts = BytecodeLane(directory / "survey", Row("survey", seed), environment, syncing=False).survey()
    telling = {place: count for place, count in counts.items() if place.startswith(MUTANTS[name])}
    for number, point in enumerate(points(telling, CONTROL_POINTS, random.Random(seed))):
        _run_lane(BytecodeLane(directory / str(number), row, environment, syncing=False), [point])
        if row.lost:
            return True
    return False
