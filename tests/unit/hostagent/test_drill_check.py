"""The user's check command: what it is given, and what is made of its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.api.drills import Drill, DrillState
from hostagent.drills.check import OUTPUT_BYTES_MAX, run_check

DRILL = Drill(
    number=3,
    group="db",
    state=DrillState.OPEN,
    generation=1,
    sequence=42,
    sequence_time_ns=1,
    started_ns=1,
    images=[],
)
DEVICES = {"data": "/dev/loop7", "log": "/dev/with space"}


@pytest.mark.parametrize(
    ("command", "code", "output"),
    [
        ('echo "$PAIRVOL_DEVICES $PAIRVOL_GROUP $PAIRVOL_DRILL"', 0, "/dev/loop7 /dev/with space db 3\n"),
        ("echo {device}; echo $PAIRVOL_SEQUENCE", 0, "/dev/loop7\n42\n/dev/with space\n42\n"),
        ("echo {device}; exit 4", 4, "/dev/loop7\n"),  # the first that fails ends it
        ("no-such-program-here 2>/dev/null", 127, ""),
        ("kill -9 $$", -9, ""),
    ],
)
def test_a_check_is_run_for_each_device_that_it_names_or_once(command: str, code: int, output: str) -> None:
    check = run_check(DRILL, DEVICES, command, 20.0)
    assert (check.exit_code, check.passed, check.output, check.sequence) == (code, code == 0, output, 42)


@pytest.mark.parametrize(
    ("words", "code", "passed"),
    [("", 1, True), ("", 0, True), ("", 4, False), ("; true", 0, True), ("|| exit 1", 1, False)],
)
def test_fsck_passes_when_it_mended_what_a_mounted_file_system_leaves(
    tmp_path: Path, words: str, code: int, passed: bool
) -> None:
    program = tmp_path / "fsck.ext4"
    program.write_text(f"#!/bin/sh\n[ $2 = /dev/loop7 ] && exit {code}\nexit 0\n")
    program.chmod(0o755)
    check = run_check(DRILL, {"data": "/dev/loop7", "log": "/dev/loop8"}, f"{program} -fp {{device}} {words}", 20.0)
    assert (check.exit_code, check.passed) == (code, passed)


def test_a_check_that_does_not_end_is_ended_with_everything_it_started() -> None:
    check = run_check(DRILL, DEVICES, "echo begun; sleep 1000 & wait", 0.3)
    assert (check.exit_code, check.passed, check.output) == (None, False, "begun\n")


def test_only_the_last_words_are_kept() -> None:
    check = run_check(DRILL, DEVICES, "seq 1 20000", 20.0)
    assert len(check.output) == OUTPUT_BYTES_MAX
    assert check.output.endswith("20000\n")
