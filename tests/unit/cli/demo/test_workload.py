"""The writers of the demonstration, and what their logs claim."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hostagent.cli.demo import workload
from hostagent.cli.demo.verdict import compare_files, read_records
from hostagent.cli.demo.workload import TreeFile, acknowledged_records, make_record, plan_tree, synced_files
from tests.support.processes import Processes
from tests.support.waiting import wait_until


def test_plan_takes_real_files_within_its_limits() -> None:
    plan = plan_tree(20 << 20, 500)
    assert 0 < len(plan) <= 500
    assert sum(file.size_bytes for file in plan) <= 20 << 20
    assert len({file.place for file in plan}) == len(plan)
    assert all(stat.S_ISREG(os.lstat(file.source).st_mode) and not file.place.startswith("/") for file in plan)


def test_tree_copy_logs_what_is_there(tmp_path: Path) -> None:
    plan, mount, log = plan_tree(1 << 20, 40), tmp_path / "mount", tmp_path / "log"
    mount.mkdir()
    workload.copy_tree(plan, mount, log)
    files = synced_files(log)
    assert [file.place for file in files] == [file.place for file in plan]
    found = compare_files(files, mount, files[-1].time_ns)
    assert (found.files, found.wrong) == (len(plan), 0)


def test_the_last_batch_is_synced_also_when_small(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")
    (tmp_path / "mount").mkdir()
    workload.copy_tree([TreeFile(str(source), "a/b", 1)], tmp_path / "mount", tmp_path / "log")
    assert [file.place for file in synced_files(tmp_path / "log")] == ["a/b"]


def test_a_line_cut_short_is_no_acknowledgement(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert acknowledged_records(log) == {}
    log.write_text("1 1000\n2 2000\n3 30")
    assert acknowledged_records(log) == {1: 1000, 2: 2000}
    batch = json.dumps({"time_ns": 5, "files": [["a", 1, "d"]]})
    log.write_text(f"{batch}\n{batch[:20]}")
    assert len(synced_files(log)) == 1


def test_records_are_unlike_each_other() -> None:
    assert len({make_record(run, number) for run in "ab" for number in range(50)}) == 100
    assert make_record("a", 3) == make_record("a", 3)


@pytest.mark.parametrize("job", ["records", "load"])
def test_writers_run_until_killed(tmp_path: Path, processes: Processes, job: str) -> None:
    log = tmp_path / "log"
    options = ["--run", "r", "--log", str(log)]
    command = [sys.executable, "-m", "hostagent.cli.demo.workload", job, str(tmp_path), *options]
    writer = processes.start(command, job)
    if job == "records":
        wait_until(lambda: len(acknowledged_records(log)) > 20, 20)
    else:
        wait_until(lambda: (tmp_path / "load").exists() and (tmp_path / "load").stat().st_size > 0, 20)
    processes.stop(writer)
    if job == "records":
        recovered = read_records(tmp_path, "r")
        assert recovered.order_violations == 0
        assert set(acknowledged_records(log)) <= recovered.numbers


def test_a_failing_volume_ends_the_writer_with_one_line(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    command = [sys.executable, "-m", "hostagent.cli.demo.workload", "records", str(gone), "--log", str(tmp_path / "l")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("records: ")
    assert "Traceback" not in done.stderr
