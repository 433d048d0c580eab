"""Hooks and frozen file systems around what is done to a real pair: a drill at a marker, a planned takeover."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from hostagent.api.drills import DrillOrder
from hostagent.api.models import PairState
from tests.integration.hostagent.conftest import HOOKS, Case
from tests.support.filesystem import mounted_ext4, run

pytestmark = [pytest.mark.e2e, pytest.mark.root]


def test_hosts_are_quiet_around_a_drill_and_a_takeover(case: Case, tmp_path: Path) -> None:
    told = case.linked.first.directory / HOOKS
    case.pair()
    told.touch()
    try:
        with mounted_ext4(case.tokyo, case.name, tmp_path / "mnt") as mounted:
            (mounted / "file").write_bytes(b"written, and not synced")
            order = DrillOrder(marker="noon", freeze=True, check="fsck.ext4 -fn {device}")
            drill = case.osaka.start_drill(case.name, order)
            assert told.read_text().splitlines() == ["before marker noon", "after marker noon ok"]
            assert drill.check is not None
            assert drill.check.passed, drill.check
            image = drill.devices[case.name]
            words = subprocess.run(["dumpe2fs", "-h", image], capture_output=True, check=True).stdout
            assert b"needs_recovery" not in words  # it was frozen there, so nothing is to be replayed
            image_point = tmp_path / "image"
            image_point.mkdir()
            run("mount", image, image_point)
            try:
                assert (image_point / "file").read_bytes() == b"written, and not synced"
            finally:
                run("umount", image_point)
            case.osaka.stop_drill(case.name)
            (mounted / "file").write_bytes(b"thawed again")
        told.write_text("")
        report = case.osaka.take_over(case.name)
        assert (report.kind, report.missing_journals) == ("planned", 0)
        assert told.read_text().splitlines() == ["before takeover", "after takeover ok"]
        case.linked.join_data_link(case.name, case.linked.second)
        case.wait_state(PairState.PAIR)
    finally:
        told.unlink()
