"""A map that is read from a slow disk stops the thread that reads it, and no other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.log_disk.disks import unmount_fuse
from tests.support.nbdkit import start_nbdkit, unix_uri
from tests.support.processes import PROJECT, Processes
from tests.support.waiting import wait_until


@pytest.mark.skipif(not os.access("/dev/fuse", os.R_OK | os.W_OK), reason="needs /dev/fuse: a file of a slow disk")
def test_other_threads_go_on_while_a_map_is_read_from_the_disk(short_path: Path, processes: Processes) -> None:
    socket, point = short_path / "nbd.sock", short_path / "disk"
    server = start_nbdkit(processes, socket, ["memory", "8M"], "memory")
    point.mkdir()
    path = point / "map"
    processes.start(["nbdfuse", path, unix_uri(socket)], "nbdfuse")
    try:
        wait_until(path.exists, 10, f"{path} to be served")
        words = [sys.executable, "-m", "tests.integration.journal.populating", str(path), str(server.pid)]
        answer = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, timeout=30, check=True)
        assert answer.stdout == "went on\n"
    finally:
        server.send_signal(signal.SIGCONT)
        unmount_fuse(point)
