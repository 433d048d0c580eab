"""A short cut of the hostile journals; `make crash SUITE=hostile` runs 100,000."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.copy.link import DataLink
from tests.crash.hostile.suite import copy_path, run
from tests.crash.results import Row
from tests.support.nbdkit import start_nbdkit, unix_uri
from tests.support.processes import Processes


def test_mutated_records_are_refused_by_name_and_the_svol_is_untouched(short_path: Path) -> None:
    row = run(seed=20, cases=2500, directory=short_path)
    assert row.holds, str(row)
    assert row.reached > 2000


@pytest.mark.crash
def test_the_same_over_a_real_link(short_path: Path, processes: Processes) -> None:
    servers = iter(range(2))

    def link(path: Path) -> DataLink:
        socket = short_path / f"{next(servers)}.sock"
        start_nbdkit(processes, socket, ["-r", "file", path], socket.stem)
        return DataLink(unix_uri(socket))

    row = Row("hostile", 21)
    copy_path(row, 120, short_path, link)
    assert row.holds, str(row)
