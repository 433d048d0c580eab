"""SIGKILL at more than a hundred system calls of the write path, and mutants that must not get through."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.crash.results import Row
from tests.crash.write_path.lane import Lane, Lost, Point

LANES = 3
DESTAGE = "pwritev,pwritev2"  # the first by compiled code, the second by the interpreter
MUTANT_PLUGIN = Path(__file__).with_name("mutant_plugin.py")


def points() -> list[Point]:
    """The calls of the write path. Each thread of the server counts its own."""
    serving = {
        "pwrite64": [*range(1, 24), 30, 40, 60, 80],  # data into the journal
        "fdatasync": [*range(1, 20), 24],  # journal, stores, pointers: commits and checkpoints
        DESTAGE: [*range(1, 16), 20, 30, 60],
        "fallocate": [1, 2, 3, 4, 6, 8],  # destage of zeros and trims
        "sendto": [*range(1, 16), 20, 30, 40, 60],  # the acknowledgement itself
        "read": [2, 5, 11, 23, 70],
        "madvise,munmap,futex": [3, 30, 90],
    }
    starting = {DESTAGE: [1, 2, 3, 5, 8], "fdatasync": [1, 2, 3, 4, 5, 6], "fallocate": [1, 2]}
    found = [Point(call, when) for call, all_when in serving.items() for when in all_when]
    return found + [Point(call, when, starting=True) for call, all_when in starting.items() for when in all_when]


# Each with the points that its mistake must show at.
MUTANTS = {
    "acknowledged before journal": [Point("pwrite64", when) for when in (7, 3, 12, 5)],
    "volume before journal": [Point(DESTAGE, when) for when in (3, 2, 5, 8)],
    "checkpoint before destage": [Point(DESTAGE, when) for when in (2, 3, 5, 8)],
}


@pytest.mark.crash
@pytest.mark.slow
def test_whatever_call_the_server_dies_in(short_path: Path) -> None:
    row = Row("kill at system calls of the write path", seed=20)
    chosen = points()
    # Each lane gets calls of every kind, and a death at the start comes after a death at work.
    lanes = [chosen[number::LANES] for number in range(LANES)]

    def run(number: int) -> list[Point]:
        lane = Lane(short_path / f"lane{number}", row)
        with suppress(Lost):
            lane.run(lanes[number])
        return lane.missed

    with ThreadPoolExecutor(LANES) as pool:
        missed = [str(point) for found in pool.map(run, range(LANES)) for point in found]
    print(row, f"not reached: {', '.join(missed) or 'none'}", sep="\n")
    assert row.holds, str(row)
    assert row.reached >= 100, str(row)


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.parametrize(("mutant", "chosen"), MUTANTS.items())
def test_a_mutant_does_not_get_through(short_path: Path, mutant: str, chosen: list[Point]) -> None:
    row = Row(f"kill at system calls, {mutant}", seed=20)
    with suppress(Lost):
        Lane(short_path / "lane", row, MUTANT_PLUGIN, {"PAIRVOL_MUTANT": mutant}, syncing=False).run(chosen)
    print(row)
    assert row.reached > 0, "the mutant was never killed"
    assert row.lost > 0, f"the mutant got through: {row}"
