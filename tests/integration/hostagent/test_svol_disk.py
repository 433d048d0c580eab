"""The disk under an SVOL refuses: the status names it and the next command, nothing is lost, that command goes on."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.api.models import VolumeCreate
from hostagent.api.models import PairState, Verdict
from tests.crash.log_disk.disks import LogDisks
from tests.integration.hostagent.conftest import Case
from tests.support.nbdkit import read_all
from tests.support.processes import Processes

pytestmark = [pytest.mark.e2e, pytest.mark.root]

SIZE = 4 << 20
FAULTS = [("write", errno.EIO), ("write", errno.ENOSPC), ("flush", errno.EIO)]


@pytest.fixture
def disk(case: Case, session_directory: Path) -> Iterator[LogDisks]:
    """The pair of a volume whose SVOL lies on a disk that can be told to fail."""
    directory = session_directory / f"disk-{case.name}"
    directory.mkdir()
    base = directory / "base"
    base.write_bytes(bytes(SIZE))
    with Processes(directory / "logs") as processes:
        disks = LogDisks(processes, directory, {"svol": base})
        with disks.file("svol") as path:
            case.make_volume(SIZE)
            case.osaka.create_volume(VolumeCreate(name=case.name, size_bytes=SIZE, backing=str(path)))
            case.tokyo.create_pair(case.order())
            case.linked.join_data_link(case.name)
            try:
                yield disks
            finally:
                case.tokyo.delete_pair(case.name, force=True)
                case.osaka.delete_volume(case.name)


def test_the_status_names_the_disk_and_the_commands_and_these_go_on(case: Case, disk: LogDisks) -> None:
    case.wait_state(PairState.PAIR)
    last = 0
    for what, number in FAULTS:
        case.write(last + 1)
        case.wait_restored(last + 1)
        with disk.failing("svol", what, number):
            case.write(last + 2)
            for agent in (case.tokyo, case.osaka):
                status = case.wait_state(PairState.PSUE, agent)
                assert status.verdict is Verdict.CRIT
                assert "osaka" in status.line
                assert os.strerror(number).lower() in (status.cause or "").lower(), status
                for command in ("copy", "restore"):
                    assert f"pairvol journal {command} {case.name}" in (status.next_command or ""), status
            case.write(last + 3)  # the primary's hosts notice nothing
        case.tokyo.copy_journal(case.name)
        case.osaka.restore_journal(case.name)
        case.wait_state(PairState.PAIR)
        last += 3
        case.wait_restored(last)
    uri = case.tokyo.volume(case.name).uri
    assert uri is not None
    assert read_all(uri) == Path(case.osaka.volume(case.name).backing).read_bytes()
