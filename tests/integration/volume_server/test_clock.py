"""The machine's clock is set while a real server journals: order and times of the journal go on all the same."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from controller.journal.layout import Records
from controller.journal.pointers import Position
from controller.journal.recovery import scan
from controller.journal.volume import JournalVolume
from tests.support.clocks import set_clock
from tests.support.nbdkit import connected
from tests.support.processes import Processes
from tests.support.volume_server import GroupFiles, start_volume_server

PLUGIN = Path(__file__).with_name("skewed_plugin.py")
HOUR = 3600 * 10**9
YEAR = 365 * 24 * HOUR
STEPS = (0, -HOUR, -YEAR, YEAR, YEAR + HOUR, 0)  # the clock against the true time; the last is a year back
KILLED_AT = 5
WRITES = 5


def times_of(files: GroupFiles) -> list[int]:
    """The time of each record, which must be there without a gap."""
    found: list[int] = []
    journal = JournalVolume.open(str(files.journal), writable=False)

    def collect(records: Records) -> None:
        found.extend(int(time_ns) for time_ns in records["time_ns"])

    scan(journal, Position(), collect)
    journal.close()
    return found


@pytest.mark.parametrize("append", ["plain", "compiled"])
def test_a_clock_that_is_set(processes: Processes, short_path: Path, append: str) -> None:
    files = GroupFiles(short_path, {"data": 1 << 20}, 1 << 20).create()
    clock = short_path / "clock"
    set_clock(clock, 0)
    environment = {"PAIRVOL_CLOCK": str(clock), "PAIRVOL_APPEND": append}
    model = bytearray(1 << 20)
    number = 0
    server = start_volume_server(processes, files, "server", PLUGIN, environment=environment)
    for at, step in enumerate(STEPS):
        set_clock(clock, step)
        if at == KILLED_AT:  # what starts then finds a journal from the future
            processes.kill(server)
            server = start_volume_server(processes, files, "server", PLUGIN, environment=environment)
        with connected(files.uri()) as handle:
            for _ in range(WRITES):
                number += 1
                data = number.to_bytes(2, "little") * 256
                model[number % 7 * 512 : number % 7 * 512 + 512] = data
                handle.pwrite(data, number % 7 * 512)
            assert bytes(handle.pread(len(model), 0)) == model
    processes.kill(server)
    times = times_of(files)
    assert len(times) == number == len(STEPS) * WRITES, "no record is missing"
    assert all(earlier < later for earlier, later in pairwise(times)), "times never go back"
    assert times[3 * WRITES] - times[2 * WRITES] > YEAR // 2, "the clock was ahead by then"
    assert times[-1] - times[5 * WRITES] < HOUR, "and not set back: a little later than the newest, each time"
