"""Where a volume server's processor time goes in a row whose goal is not reached: `perf` samples, shared out by part.

Only what runs on a processor is sampled. `cores` says how much that is: a
server that is busy for a tenth of a core waits, for its disk or its clients,
and the parts say little about why it is slow. `idle` and `displaced` tell of
one that could run and does not: how many cores had nothing to do meanwhile,
and how often, for each operation, another thread was given its core.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
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
FIGURES = ("cores", "idle", "displaced")  # of a profile; the rest of it are parts
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
    displaced = Displaced(server.pid, seconds)
    peer.before()
    with tempfile.TemporaryDirectory() as place, block.beside(each, peer, seconds):
        samples = Path(place) / "perf.data"
        words = ["perf", "record", "--quiet", "--freq", str(FREQUENCY), "-g", "--output", str(samples)]
        recorder = subprocess.Popen([*words, "--pid", str(server.pid)], stderr=subprocess.DEVNULL)
        try:
            before, idle_before, began = _seconds(server), _idle_seconds(), time.monotonic()
            displaced.start()
            rate = fio.run(each.work, peer.uri, seconds, seed=1)
            elapsed = time.monotonic() - began
            cores, idle = (_seconds(server) - before) / elapsed, (_idle_seconds() - idle_before) / elapsed
        finally:
            recorder.terminate()
            recorder.wait(30)
        script = ["perf", "script", "--input", str(samples), "--fields", "ip,sym,dso"]
        text = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    displaced.join()
    figures = {"cores": cores, "idle": idle, "displaced": displaced.rate / rate}
    return {name: round(value, 2) for name, value in figures.items()} | parts(text)


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
    figures = {name: row.profile[name] for name in FIGURES}
    largest = [(name, share) for name, share in row.profile.items() if name not in figures and share >= 3]
    shares = ", ".join(f"{share:.0f} % {name}" for name, share in largest)
    used = f"keeps {figures['cores']:.2f} cores busy, {figures['idle']:.2f} are idle"
    lost = f"loses its core {figures['displaced']:.2f} times for each operation"
    return f"why not: {row.work}: the volume server {used}, and it {lost}: {shares}"


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


def _idle_seconds() -> float:
    times = psutil.cpu_times()
    return float(times.idle + times.iowait)


class Displaced(threading.Thread):
    """How often in a second the threads of a process lost their core to another, looked at in the middle of a run.

    Counters of threads go with them, and a connection's thread goes with its client.
    """

    def __init__(self, pid: int, seconds: float) -> None:
        super().__init__()
        self.rate = 0.0
        self._pid = pid
        self._quarter_seconds = seconds / 4

    def run(self) -> None:
        time.sleep(self._quarter_seconds)
        before, began = self.counted(), time.monotonic()
        time.sleep(2 * self._quarter_seconds)
        after = self.counted()
        lost = sum(count - before[thread] for thread, count in after.items() if thread in before)
        self.rate = lost / (time.monotonic() - began)

    def counted(self) -> dict[str, int]:
        """By thread, since each began."""
        found = {}
        for thread in Path(f"/proc/{self._pid}/task").iterdir():
            with suppress(OSError):  # one that has just ended
                text = (thread / "status").read_text()
                found[thread.name] = int(text.split("nonvoluntary_ctxt_switches:")[1].split()[0])
        return found
