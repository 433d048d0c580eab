"""Where a volume server's processor time goes in a row whose goal is not reached: `perf` samples, shared out by part.

Only what runs on a processor is sampled. `cores` says how much that is: a
server that is busy for a tenth of a core waits, for its disk or its clients,
and the parts say little about why it is slow.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psutil

from tests.bench import block, fio
from tests.bench.peers import Peer
from tests.bench.rows import Row

FREQUENCY = 997
OTHER = "other"
# The first that is anywhere in a sample's stack names its part: what a thread asked the kernel for, then faults.
CALLS = (
    ("__x64_sys_pwrite64", "writes into the journal or the file"),
    ("filemap_read", "reads of the volume's file"),
    ("do_iter_readv_writev", "destage: writes into the volume's file"),
    ("__x64_sys_madvise", "destage: writes into the volume's file"),
    ("__x64_sys_fdatasync", "syncs"),
    ("__x64_sys_fallocate", "holes"),
    ("__x64_sys_futex", "locks"),
    ("__x64_sys_poll", "clients' sockets"),
    ("__x64_sys_send", "clients' sockets"),
    ("__x64_sys_recv", "clients' sockets"),
    ("ksys_read", "clients' sockets"),
    ("exc_page_fault", "page faults of the mapped journal"),
    ("exit_to_user_mode_loop", "giving way to other processes"),
    ("do_syscall_64", "other calls of the kernel"),
)
# Else the program or library that the innermost frame is of.
LIBRARIES = (
    ("_hot", "compiled steps"),
    ("crc32c", "checksums"),
    ("python", "Python"),
    ("numpy", "numpy"),
    ("nbdkit", "nbdkit"),
    ("libc.so", "libc: copies, locks"),
    ("kernel", "kernel: switching, interrupts"),
    ("vdso", "kernel: switching, interrupts"),
)


def profile_unreached(rows: Sequence[Row], peers: Sequence[Peer], seconds: float) -> list[Row]:
    """The same rows; those of `paired` that miss their goal with a profile, when there is `perf`."""
    found = list(rows)
    if shutil.which("perf") is None:
        return found
    paired = next(peer for peer in peers if peer.name == "paired")
    for each in block.ROWS:
        missed = [at for at, row in enumerate(found) if row.work == each.work.text and row.met is False]
        if missed:
            shares = _shares(each, paired, seconds)
            for at in missed:
                found[at] = replace(found[at], profile=shares)
    return found


def _shares(each: block.BlockRow, peer: Peer, seconds: float) -> dict[str, float]:
    """Percent of the server's processor time by part, and how many cores it kept busy."""
    server = _server(peer)
    peer.before()
    with tempfile.TemporaryDirectory() as place, block.beside(each, peer, seconds):
        samples = Path(place) / "perf.data"
        words = ["perf", "record", "--quiet", "--freq", str(FREQUENCY), "-g", "--output", str(samples)]
        recorder = subprocess.Popen([*words, "--pid", str(server.pid)], stderr=subprocess.DEVNULL)
        try:
            before, began = _seconds(server), time.monotonic()
            fio.run(each.work, peer.uri, seconds, seed=1)
            cores = (_seconds(server) - before) / (time.monotonic() - began)
        finally:
            recorder.terminate()
            recorder.wait(30)
        script = ["perf", "script", "--input", str(samples), "--fields", "ip,sym,dso"]
        text = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    return {"cores": round(cores, 2), **parts(text)}


def parts(script: str) -> dict[str, float]:
    """What `perf script` printed, as percent by part, largest first."""
    stacks = ([frame for frame in stack.splitlines() if frame.strip()] for stack in script.split("\n\n"))
    counted = Counter(_part(stack) for stack in stacks if stack)
    total = counted.total()
    return {name: round(100 * count / total, 1) for name, count in counted.most_common()}


def _part(stack: Sequence[str]) -> str:
    for symbol, name in CALLS:
        if any(symbol in frame for frame in stack):
            return name
    return next((name for library, name in LIBRARIES if library in stack[0]), OTHER)


def line(row: Row) -> str:
    """For people; the same for each peer of a work."""
    if "cores" not in row.profile:
        return f"why not: {row.work}: " + ", ".join(f"{value:.1f} {name}" for name, value in row.profile.items())
    largest = [(name, share) for name, share in row.profile.items() if name != "cores" and share >= 3]
    shares = ", ".join(f"{share:.0f} % {name}" for name, share in largest)
    return f"why not: {row.work}: the volume server keeps {row.profile['cores']:.2f} cores busy: {shares}"


def _server(peer: Peer) -> psutil.Process:
    """The nbdkit process that listens at a peer's socket."""
    (listener,) = parse_qs(urlsplit(peer.uri).query)["socket"]
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.name() == "nbdkit" and listener in process.cmdline():
                return process
    raise RuntimeError(f"no nbdkit listens at {listener}")


def _seconds(server: psutil.Process) -> float:
    times = server.cpu_times()
    return float(times.user + times.system)
