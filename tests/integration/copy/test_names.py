"""The data link to a host whose name nobody answers for: it ends in time, and at once when it is stopped.

The look-up is the system's own and libnbd's, so the name server that says
nothing is real: in namespaces that end with the process.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import PROJECT

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="not root, or no unshare: no namespace of its own"
)

SET_UP = 'mount --bind "$1" /etc/resolv.conf && ip link set lo up && exec "$2" -c "$3"'
CHILD = """
import socket, threading, time
from controller.copy.link import DataLink
from controller.errors import PeerError

silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
silent.bind(("127.0.0.1", 53))

def call(deadline_seconds, stop):
    began = time.monotonic()
    try:
        DataLink("nbd://osaka.example.org:10809/journal", deadline_seconds=deadline_seconds, stop=stop).size_bytes
    except PeerError as error:
        print(f"{time.monotonic() - began:.3f} {error.message}", flush=True)

call(0.5, threading.Event())
stop = threading.Event()
thread = threading.Thread(target=call, args=(60, stop))
thread.start()
silent.settimeout(20)
while b"osaka" not in silent.recv(4096):  # the first call's, and the second's
    pass
began = time.monotonic()
stop.set()
thread.join()
print(f"{time.monotonic() - began:.3f} joined", flush=True)
"""


def test_a_name_that_nobody_answers_for_holds_nothing_up(tmp_path: Path) -> None:
    servers = tmp_path / "resolv.conf"
    servers.write_text("nameserver 127.0.0.1\noptions timeout:10 attempts:2\n")
    command = ["unshare", "--mount", "--net", "sh", "-c", SET_UP, "sh", str(servers), sys.executable, CHILD]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line.split(" ", 1) for line in done.stdout.splitlines()]
    assert [words for _, words in lines] == [
        "data link nbd://osaka.example.org:10809/journal: no answer for 0.5 s",
        "data link nbd://osaka.example.org:10809/journal: stopped",
        "joined",
    ]
    assert float(lines[0][0]) < 2.5
    assert float(lines[2][0]) < 2
