"""What a user would otherwise do in user space: QEMU's servers, bare and with a running mirror.

`qemu-nbd` serves a file. `qemu-storage-daemon` serves a file while it mirrors
every change to another NBD server, in its default mode: in the background,
without order, without a journal. Neither can be taken over in the middle.
"""

from __future__ import annotations

import json
import shutil
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.bench.peers import VOLUME_BYTES, Peer, filled_file
from tests.support.nbdkit import running_nbdkit, unix_uri
from tests.support.processes import Processes
from tests.support.waiting import wait_until

MIRROR = "qemu-storage-daemon mirror"


def qemu_nbd(stack: ExitStack, processes: Processes, directory: Path, piece_bytes: int) -> Peer:
    """QEMU's own server on a plain file, with the page cache as nbdkit has it."""
    path, listener = filled_file(directory / "qemu.img", piece_bytes=piece_bytes), directory / "qemu.sock"
    words = [
        "qemu-nbd",
        "--persistent",
        "--shared=4",
        "--format=raw",
        "--cache=writeback",
        f"--socket={listener}",
    ]
    process = processes.start([*words, path], "qemu-nbd")
    stack.callback(processes.stop, process)
    wait_until(listener.exists, 20, "qemu-nbd to listen")
    return Peer("qemu-nbd", unix_uri(listener))


def qemu_mirror(stack: ExitStack, processes: Processes, directory: Path, second: Path, piece_bytes: int) -> Peer | None:
    """A served file that is mirrored to a second server on this machine, whose file lies in the directory `second`.

    None where QEMU's daemon is not installed.
    """
    if shutil.which("qemu-storage-daemon") is None:
        return None
    path = filled_file(directory / "source.img", piece_bytes=piece_bytes)
    listener, monitor = directory / "qsd.sock", directory / "qmp.sock"
    target = second / "target.img"
    with target.open("wb") as file:
        file.truncate(VOLUME_BYTES)
    other = directory / "target.sock"
    stack.enter_context(running_nbdkit(processes, other, "file", target, name="mirror-target"))
    words = [
        "qemu-storage-daemon",
        "--chardev",
        f"socket,path={monitor},server=on,wait=off,id=monitor",
        "--monitor",
        "chardev=monitor",
        "--blockdev",
        f"driver=file,node-name=file,filename={path}",
        "--blockdev",
        "driver=raw,node-name=source,file=file",
        "--nbd-server",
        f"addr.type=unix,addr.path={listener},max-connections=4",
        "--export",
        "type=nbd,id=export,node-name=source,name=volume,writable=on",
    ]
    process = processes.start(words, "qemu-storage-daemon")
    stack.callback(processes.stop, process)
    wait_until(lambda: monitor.exists() and listener.exists(), 20, "qemu-storage-daemon to listen")
    qmp = Qmp(monitor)
    stack.callback(qmp.close)
    server = {"type": "unix", "path": str(other)}
    qmp.ask("blockdev-add", {"driver": "nbd", "node-name": "target", "server": server, "export": ""})
    qmp.ask("blockdev-mirror", {"job-id": "mirror", "device": "source", "target": "target", "sync": "full"})

    def mirrored() -> bool:
        jobs = [job for job in qmp.ask("query-block-jobs") if job["device"] == "mirror"]
        if not jobs:
            raise RuntimeError(f"the mirror ended: {processes.log('qemu-storage-daemon')[-500:]}")
        return bool(jobs[0]["ready"]) and jobs[0]["len"] - jobs[0]["offset"] == 0

    def caught_up() -> None:
        wait_until(mirrored, 120, "the mirror to have caught up", interval=0.1)

    caught_up()
    return Peer(MIRROR, unix_uri(listener, "volume"), before=caught_up, after=caught_up)


class Qmp:
    """QEMU's monitor: one command, one answer; events between them are passed over."""

    def __init__(self, path: Path) -> None:
        self._link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._link.settimeout(30)
        self._link.connect(str(path))
        self._lines = self._link.makefile("rwb")
        self._lines.readline()
        self.ask("qmp_capabilities")

    def ask(self, command: str, arguments: dict[str, Any] | None = None) -> Any:
        self._lines.write(json.dumps({"execute": command, "arguments": arguments or {}}).encode() + b"\n")
        self._lines.flush()
        while True:
            answer = json.loads(self._lines.readline())
            if "error" in answer:
                raise RuntimeError(f"{command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def close(self) -> None:
        self._lines.close()
        self._link.close()
