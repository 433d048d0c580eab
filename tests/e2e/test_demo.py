"""The main job as anybody runs it: `pairvol demo`, from nothing to a verdict, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hostagent.cli.demo import devices
from hostagent.cli.demo.processes import marked_processes
from hostagent.cli.demo.sites import Daemon
from hostagent.cli.demo.workspace import Workspace
from hostagent.client import Agent
from tests.support.processes import PROJECT
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.slow]

CHECKS = {
    "copied_while_written",
    "primary_dead",
    "taken_over",
    "file_system_clean",
    "files_equal",
    "records_in_order",
    "recovery_point_kept",
    "tail_in_primary_journal",
    "nothing_lost",
}


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "hostagent.cli.main", "demo", *words]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), capture_output=True, text=True, check=False, cwd=PROJECT, timeout=200)


def assert_nothing_left(directory: Path) -> None:
    assert not directory.exists()
    for place in (directory, directory / "tokyo", directory / "osaka"):
        assert marked_processes(str(place)) == []
    assert devices.loop_devices(directory) == []
    assert devices.mounts_below(directory) == []


def test_demo_finds_nothing_lost_and_leaves_nothing(short_path: Path) -> None:
    directory = short_path / "demo"
    done = run("--json", "--dir", str(directory))
    assert done.returncode == 0, done.stderr + done.stdout
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["verdict"] == "OK"
    assert found["checks"] == dict.fromkeys(CHECKS, True)
    assert (found["lost"], found["order_violations"]) == (0, 0)
    assert found["files"] > 1000
    assert found["bytes"] > 20 << 20
    assert found["journals_restored"] > 1000
    assert found["records_acknowledged"] == found["records_recovered"] + found["records_in_tail"] or (
        found["records_recovered"] > found["records_acknowledged"]  # the last one was written, not acknowledged
    )
    for name in ("lag_seconds_mean", "lag_seconds_p99", "takeover_seconds", "tail_seconds"):
        assert found[name] >= 0
    assert found["tail_journals"] >= found["records_in_tail"]
    assert found["records_acknowledged"] > 100
    assert done.stderr == ""
    assert_nothing_left(directory)


def test_kept_sites_answer_until_stopped(short_path: Path) -> None:
    directory = short_path / "demo"
    try:
        done = run("--keep", "--dir", str(directory), "--size", "512M")
        assert done.returncode == 0, done.stderr + done.stdout
        assert f"pairvol demo --stop --dir {directory}" in done.stdout
        survivor = Workspace.open(directory).sites.secondary
        assert f"PAIRVOL_AGENT={survivor.agent_url}" in done.stdout
        with Agent(survivor.agent_url) as agent:
            assert agent.pair_status("db").state == "SSWS"
        again = run("--dir", str(directory))
        assert again.returncode == 20
    finally:
        stopped = run("--stop", "--dir", str(directory))
    assert stopped.returncode == 0, stopped.stderr
    assert_nothing_left(directory)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_demo_cleans_up(short_path: Path, number: signal.Signals) -> None:
    directory = short_path / "demo"
    demo = subprocess.Popen(
        command("--json", "--dir", str(directory)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=PROJECT
    )
    wait_until(lambda: devices.mounts_below(directory / "mnt"), 60, "the PVOL to be mounted")
    os.kill(demo.pid, number)
    out, err = demo.communicate(timeout=60)
    assert demo.returncode == 130, err
    assert out == b""
    assert_nothing_left(directory)


def test_stop_ends_what_a_killed_demo_left(short_path: Path) -> None:
    directory = short_path / "demo"
    demo = subprocess.Popen(
        command("--json", "--dir", str(directory)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=PROJECT
    )
    wait_until(lambda: devices.mounts_below(directory / "mnt"), 60, "the PVOL to be mounted")
    demo.kill()
    demo.wait()
    site = Workspace.open(directory).sites.primary
    assert site.daemon_process(Daemon.CONTROLLER) is not None
    assert run("--stop", "--dir", str(directory)).returncode == 0
    assert_nothing_left(directory)
