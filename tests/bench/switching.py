"""Rows 10 and 11: how long a takeover and a start after a kill take."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from controller.config import ServerSettings
from controller.journal.pointers import Pointer
from controller.process import servers_under
from hostagent.api.models import PairPolicy
from tests.bench import fio
from tests.bench.cost import MEMORY_MIB
from tests.bench.peers import MIB
from tests.bench.rows import Row, alternate, compare_cost, explained, within
from tests.bench.sites import SAMPLE_SECONDS, Bench, bench_sites
from tests.support.nbdkit import connected
from tests.support.processes import Processes
from tests.support.volume_server import GroupFiles, start_volume_server
from tests.support.waiting import wait_until

ROWS = ("10", "11")
UNRESTORED_BYTES = 64 * MIB
TAKEOVER_GOAL = 1.5
LOADED_SECONDS = 1.0  # from the start of a server to its program loaded, at the latest
START_SECONDS = 2.0
JOURNALED_BYTES = 1024 * MIB


def measure_rows(wanted: set[str], directory: Path, rounds: int) -> Iterator[Row]:
    if "10" in wanted:
        with bench_sites(directory) as bench:
            yield from takeovers(bench, rounds)
    if "11" in wanted:
        yield starts(directory / "start", rounds)


def takeovers(bench: Bench, rounds: int) -> Iterator[Row]:
    """From the order to the answer, with journals here that are not restored; the primary does not answer."""
    plain = bench.directory / "plain"

    def write(_: int) -> float:
        data = os.urandom(MIB)
        started = time.perf_counter()
        with plain.open("wb") as file:
            for _number in range(UNRESTORED_BYTES // MIB):
                file.write(data)
            file.flush()
            os.fdatasync(file.fileno())
        return time.perf_counter() - started

    groups = [f"t{number}" for number in range(rounds)]
    for group in groups:
        bench.pair(group, [group], 2 * UNRESTORED_BYTES, 4 * UNRESTORED_BYTES, PairPolicy(restore="later"))
        _leave_unrestored(bench, group)
    run = bench.sites.secondary.directory / "run"
    loaded = min(rounds, ServerSettings().prepared)
    wait_until(lambda: len(list(servers_under(run))) >= loaded, 60, "servers to be kept loaded for the takeovers")
    time.sleep(LOADED_SECONDS)
    sizes = [psutil.Process(pid).memory_info().rss / MIB for pid, _ in servers_under(run)]
    yield within("10", "memory of a server kept loaded", "volume server", "MiB", sizes, MEMORY_MIB)
    bench.sites.primary.kill_site()

    stages: dict[str, float] = {}

    def takeover(number: int) -> float:
        os.sync()
        group, began = groups[number], time.time_ns()
        started = time.perf_counter()
        with _restored(bench, group) as restored:
            report = bench.second.take_over(group, force=True)
        seconds = time.perf_counter() - started
        assert report.journals_restored > 0, report
        served = max(each.time_ns for each in bench.second.events() if each.name == "server.adopted")
        stages["ms until it is restored"] = round((restored[0] - started) * 1e3)
        stages["ms until its volume server answers"] = round((served - began) / 1e6)
        stages["ms until the answer"] = round(seconds * 1e3)
        return seconds

    ours, theirs = alternate([takeover, write], rounds)
    text = f"takeover with {UNRESTORED_BYTES // MIB} MiB unrestored"
    row = compare_cost("10", text, "forced", "writing as much, synced", "s", ours, theirs, TAKEOVER_GOAL)
    yield explained(row, stages)


def _leave_unrestored(bench: Bench, group: str) -> None:
    """Journals that are at the second site and not in its volumes."""
    size = UNRESTORED_BYTES // (128 * 1024)
    with connected(bench.uri(group)) as handle:
        data = os.urandom(128 * 1024)
        for number in range(size):
            handle.pwrite(data, number * len(data))
        handle.flush()

    def copied() -> bool:
        sides = bench.second.journal(group)
        if sides.primary is None or sides.secondary is None:
            return False
        durable, read = sides.primary.pointers["durable"], sides.secondary.pointers["already_read"]
        return read.sequence >= durable.sequence > sides.secondary.pointers["already_restored"].sequence

    wait_until(copied, 60, f"the journals of {group} to be copied and not restored", interval=0.1)


@contextmanager
def _restored(bench: Bench, group: str) -> Iterator[list[float]]:
    """Within this: when the last journal was restored, by the performance counter, as the first entry."""
    found: list[float] = []
    over = threading.Event()

    def look() -> None:
        site = bench.sites.secondary
        last = bench.position(site, group, Pointer.ALREADY_READ).sequence
        while not over.wait(SAMPLE_SECONDS):
            if bench.position(site, group, Pointer.ALREADY_RESTORED).sequence >= last:
                break
        found.append(time.perf_counter())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def starts(directory: Path, rounds: int) -> Row:
    """From the start of a killed volume server to the first answered read; its journal holds a gibibyte."""
    directory.mkdir()
    found = []
    with Processes(directory / "logs") as processes:
        for number in range(rounds):
            files = GroupFiles(directory / str(number), {"v": 512 * MIB}, JOURNALED_BYTES + 128 * MIB).create()
            server = start_volume_server(processes, files, f"before-{number}")
            written = 0.0
            work = fio.Work("fill", "randwrite", 16384, 8, rate_iops=10000)
            while written < JOURNALED_BYTES * 0.95:
                fio.run(work, files.uri("v"), 0.5, seed=number)
                written = files.command("status")["appended"]["data_position"] * 512
            os.kill(int(files.pidfile.read_text()), signal.SIGKILL)
            server.wait(10)
            began = time.perf_counter()
            again = start_volume_server(processes, files, f"after-{number}")
            with connected(files.uri("v")) as handle:
                handle.pread(4096, 0)
            found.append(time.perf_counter() - began)
            processes.kill(again)
            files.journal.unlink()
    text = f"start after a kill with {JOURNALED_BYTES // MIB} MiB of journal"
    return within("11", text, "volume server", "s", found, START_SECONDS)
