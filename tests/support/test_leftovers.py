"""The leftover check sees what it is there for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.leftovers import left_loops, left_mounts, left_processes
from tests.support.processes import Processes, alive, end


def test_a_process_is_seen_until_it_ends(short_path: Path, processes: Processes) -> None:
    assert left_processes([short_path]) == []
    child = processes.start([sys.executable, "-c", "import signal; signal.pause()", f"{short_path}/config"], "sleeper")
    assert [line.split()[1] for line in left_processes([short_path])] == [f"{child.pid}:"]
    end(child.pid)
    assert not alive(child.pid)
    assert left_processes([short_path]) == []


@pytest.mark.root
def test_a_mount_and_a_loop_device_are_seen(short_path: Path) -> None:
    image, point = short_path / "image", short_path / "mnt"
    point.mkdir()
    image.write_bytes(bytes(1 << 20))
    device = subprocess.check_output(["losetup", "-f", "--show", image], text=True).strip()
    try:
        assert [line.split()[1] for line in left_loops([short_path])] == [device]
    finally:
        subprocess.run(["losetup", "-d", device], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", point], check=True)
    try:
        assert left_mounts([short_path]) == [f"mount {point}"]
    finally:
        subprocess.run(["umount", point], check=True)
    assert left_mounts([short_path]) == []
