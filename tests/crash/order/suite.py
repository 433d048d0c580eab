"""Order across volumes: several writers over two to four volumes of one group, cut and killed."""

from __future__ import annotations

from pathlib import Path

from tests.crash.order.crowd import FLUSH_SHARE, record_crowd
from tests.crash.powercut.explorer import Explorer
from tests.crash.powercut.suite import MUTANT_SCRIPT
from tests.crash.results import Controls, Row, wanted
from tests.support.processes import Processes

VOLUMES = (2, 3, 4)
WRITES = 600
POINTS_PER_ROUND = 900
CONTROLS = ("acknowledged before journal", "volume before journal", "older data wins", "flush does nothing")
CONTROL_TRIES, CONTROL_POINTS = 4, 200
# Each flush makes durable what the volumes must not be ahead of: with many there is hardly anything to be ahead of.
CONTROL_FLUSH_SHARES = {"volume before journal": 0.005}


def run(seed: int, points: int, directory: Path, controls: Controls = None) -> Row:
    """`points` states in all; `directory` should lie in memory."""
    row = Row("order", seed)
    with Processes(directory / "logs") as processes:
        explorer = Explorer(row, processes, directory)
        for done in range(0, points, POINTS_PER_ROUND):
            for volumes in VOLUMES:
                explorer.seed = seed + done + volumes
                crowd = record_crowd(processes, explorer.folder(), explorer.seed, volumes, WRITES)
                explorer.killed(crowd)
                explorer.crowd(crowd, min(POINTS_PER_ROUND, points - done) // len(VOLUMES))
        for name in wanted(CONTROLS, controls):
            caught = any(_caught(explorer.folder(), name, seed + n, processes) for n in range(CONTROL_TRIES))
            row.control(name, caught)
    return row


def _caught(directory: Path, name: str, seed: int, processes: Processes) -> bool:
    found = Row("order control", seed)
    explorer = Explorer(found, processes, directory)
    environment = {"PAIRVOL_MUTANT": name}
    crowd = record_crowd(
        processes,
        explorer.folder(),
        seed,
        3,
        WRITES,
        flush_share=CONTROL_FLUSH_SHARES.get(name, FLUSH_SHARE),
        script=MUTANT_SCRIPT,
        environment=environment,
    )
    explorer.killed(crowd)
    if not found.lost + found.order_violations:
        explorer.crowd(crowd, CONTROL_POINTS, until_failure=True)
    return not found.holds
