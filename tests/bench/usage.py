"""Which programs of two sites used the processors while something was measured."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import psutil

from hostagent.cli.demo.sites import Site

SERVERS = {"v": "volume servers", "g": "volume servers", "j": "journal servers", "p": "copy sources", "z": "relays"}
CPUCLOCK_SCHED = 2  # clock_getcpuclockid(3) of another process; Python has no call for it
SHARE_MIN = 0.05  # percent of a core, of a program that is named


def seconds(process: psutil.Process) -> float:
    """Processor time of a process so far; nothing of one that is gone."""
    with suppress(psutil.Error):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


def run_seconds(process: psutil.Process) -> float:
    """Time on a processor of all threads that a process has or had, to the nanosecond; nothing of one that is gone.

    For who does next to nothing: its processor time as it is usually told
    counts whole ticks, of whoever runs when one falls.
    """
    with suppress(OSError):
        return time.clock_gettime(~process.pid << 3 | CPUCLOCK_SCHED)
    return 0.0


def site_seconds(site: Site) -> float:
    return sum(map(seconds, site.processes()))


def watch(sites: Iterable[Site]) -> Callable[[], dict[str, float]]:
    """From now on; what it returns tells percent of a core by site and program."""
    sites = list(sites)
    before, began = _by_program(sites), time.monotonic()

    def told() -> dict[str, float]:
        elapsed = time.monotonic() - began
        used = _by_program(sites)
        used.subtract(before)
        shares = {name: round(100 * value / elapsed, 1) for name, value in used.most_common()}
        return {f"% {name}": share for name, share in shares.items() if share >= SHARE_MIN}

    return told


def _by_program(sites: Iterable[Site]) -> Counter[str]:
    used: Counter[str] = Counter()
    for site in sites:
        for process in site.processes():
            with suppress(psutil.Error):
                used[f"{site.name}: {_program(process.cmdline())}"] += run_seconds(process)  # type: ignore[assignment]
    return used


def _program(words: list[str]) -> str:
    for daemon in ("controller", "agent"):
        if daemon in words and "run" in words:
            return daemon
    pidfiles = [Path(word).name for word in words if word.endswith(".pid")]
    return SERVERS.get(pidfiles[0].partition("-")[0], "other") if pidfiles else "other"
