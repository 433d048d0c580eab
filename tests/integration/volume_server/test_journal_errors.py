"""A journal whose disk refuses under a real volume server: flushes and writes go on through the stores."""

from __future__ import annotations

import os
import random
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbd
import pytest

from controller.api.models import SuspendedCause
from controller.volume.dirty import head_of
from controller.volume.dirty_file import MapState
from tests.support.nbdkit import connected, read_all
from tests.support.processes import Processes
from tests.support.volume_server import GroupFiles, start_volume_server
from tests.support.waiting import wait_until

MIB = 1 << 20

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed: run make tools")


@dataclass
class SuspendingFiles(GroupFiles):
    """Files of a group that is suspended when its journal refuses."""

    @property
    def journal_document(self) -> dict[str, Any]:
        return {**super().journal_document, "on_error": "suspend"}


@pytest.mark.parametrize("call", ["fdatasync", "pwrite64"])
def test_hosts_go_on_and_the_group_comes_back(short_path: Path, processes: Processes, call: str) -> None:
    files = SuspendingFiles(short_path, {"data": 16 * MIB}, 8 * MIB)
    files.create()
    expected = bytearray(16 * MIB)
    dice = random.Random(1)

    def write(handle: nbd.NBD, count: int) -> None:
        for _ in range(count):
            offset = dice.randrange(4096) * 4096
            expected[offset : offset + 4096] = data = dice.randbytes(4096)
            handle.pwrite(data, offset)
            handle.flush()

    tracer: list[str | Path] = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", files.journal]
    tracer += ["-e", f"trace={call}", "-e", f"inject={call}:error=EIO:when=20+"]
    start_volume_server(processes, files, before=tracer)
    with connected(files.uri()) as handle:
        write(handle, 60)
        assert read_all(files.uri()) == expected
        wait_until(lambda: files.command("status")["mode"] == "suspended", what="the group to be suspended")
        write(handle, 5)
        assert read_all(files.uri()) == expected
    assert "journal" in files.command("status")["failure"]["message"]
    head = head_of(str(files.dirty_map), files.uuid)
    assert head is not None
    assert (head.state, head.cause) == (MapState.SUSPENDED, SuspendedCause.ERROR)

    os.kill(int((short_path / "nbd.pid").read_text()), signal.SIGKILL)
    server = start_volume_server(processes, files, "again")  # the disk is mended
    assert files.command("status")["mode"] == "suspended"
    assert read_all(files.uri()) == expected
    files.confirm_all()
    assert files.command("resume", journal=files.journal_document)["appended"]["sequence"] == head.position.sequence + 1
    with connected(files.uri()) as handle:
        write(handle, 20)
    assert files.command("status")["mode"] == "journal"
    assert processes.stop(server) == 0, processes.log("again")
    assert files.volume("data").read_bytes() == expected
