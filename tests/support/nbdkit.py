"""Stock nbdkit servers and small libnbd helpers for tests and benchmarks."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import nbd

from tests.support.processes import Processes
from tests.support.waiting import wait_until


def unix_uri(socket: Path, export: str = "") -> str:
    return f"nbd+unix:///{export}?socket={socket}"


def start_nbdkit(processes: Processes, socket: Path, words: Sequence[str | Path], name: str) -> subprocess.Popen[bytes]:
    """`nbdkit -f -U SOCKET WORDS...`, waited for until it listens."""
    pidfile = socket.with_suffix(".pid")
    pidfile.unlink(missing_ok=True)
    process = processes.start(["nbdkit", "-f", "-U", socket, "--pidfile", pidfile, *words], name)

    def listening() -> bool:
        if process.poll() is not None:
            raise AssertionError(f"nbdkit {words} ended with {process.returncode}: {processes.log(name)}")
        return pidfile.exists() and socket.exists()

    wait_until(listening, 20, f"nbdkit {name} to listen")
    return process


@contextmanager
def running_nbdkit(processes: Processes, socket: Path, *words: str | Path, name: str = "nbdkit") -> Iterator[str]:
    """The URI of a server that is stopped at the end of the block."""
    process = start_nbdkit(processes, socket, words, name)
    try:
        yield unix_uri(socket)
    finally:
        processes.stop(process)


@contextmanager
def connected(uri: str) -> Iterator[nbd.NBD]:
    """A libnbd handle, shut down politely."""
    handle = nbd.NBD()
    handle.connect_uri(uri)
    try:
        yield handle
    finally:
        handle.shutdown()


def read_all(uri: str, chunk: int = 1 << 20) -> bytes:
    """Every byte of an export."""
    with connected(uri) as handle:
        size = handle.get_size()
        return b"".join(bytes(handle.pread(min(chunk, size - at), at)) for at in range(0, size, chunk))
