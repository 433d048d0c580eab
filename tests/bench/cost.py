"""Rows 12 to 14, and 16: what it costs in memory, processor time, idle work, and bytes for each byte of a host."""

from __future__ import annotations

import os
import time
import tracemalloc
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from controller.api.words import SuspendedCause
from controller.journal.pointers import Pointer, Position
from controller.volume.dirty import DirtyMap
from controller.volume.dirty_file import MapHead, MapState
from hostagent.cli.demo.sites import Site
from tests.bench import fio
from tests.bench.peers import MIB, filled_file
from tests.bench.rows import Figure, Row, compare, compare_cost, explained, within
from tests.bench.sites import Bench, bench_sites
from tests.bench.usage import run_seconds, site_seconds, watch
from tests.bench.usage import seconds as process_seconds
from tests.support.nbdkit import running_nbdkit
from tests.support.processes import Processes
from tests.support.volume_server import GroupFiles, start_volume_server
from tests.support.waiting import wait_until

ROWS = ("12", "13", "14", "16")
GIB = 1 << 30
SMALL_BYTES, LARGE_BYTES = 10 * GIB, 10 * 1024 * GIB
MEMORY_MIB, GROWTH_MIB = 150.0, 20.0
CPU_GOAL = 1.5
IDLE_PERCENT = 1.0
IDLE_SECONDS = 10.0
WRITE = fio.Work("4k random write, depth 16, fsync every 32", "randwrite", 4096, 16, flush_every=32)


def measure_rows(wanted: set[str], directory: Path, rounds: int, seconds: float) -> Iterator[Row]:
    if "12" in wanted:
        yield from memory(directory / "memory", seconds)
        yield from tracking(directory / "memory")
    if wanted & {"13", "14", "16"}:
        with bench_sites(directory) as bench:
            bench.pair("cost", ["cost"], 256 * MIB, 512 * MIB)
            if "14" in wanted:
                yield from idle(bench)
            if "13" in wanted:
                yield processor(bench, rounds, seconds)
            if "16" in wanted:
                yield from multiplied(bench, seconds)


def memory(directory: Path, seconds: float) -> Iterator[Row]:
    """A volume server's own memory under load. The mapped journal is page cache, which the kernel takes back."""
    directory.mkdir()
    found = []
    with Processes(directory / "logs") as processes:
        for number, size in enumerate((SMALL_BYTES, LARGE_BYTES)):
            files = GroupFiles(directory / str(number), {"v": size}, 256 * MIB, full_wait_seconds=0.1).create()
            server = start_volume_server(processes, files, f"server-{number}")
            fio.run(fio.Work("load", "randwrite", 4096, 16), files.uri("v"), seconds, seed=1)
            found.append(_anonymous_bytes(int(files.pidfile.read_text())) / MIB)
            processes.stop(server, 60)
            files.journal.unlink()
    small, large = found
    yield within("12", "memory of a volume server, 10 GiB volume", "volume server", "MiB", [small], MEMORY_MIB)
    yield within("12", "memory of a volume server, 10 TiB volume", "volume server", "MiB", [large], MEMORY_MIB)
    yield within(
        "12", "growth of it from 10 GiB to 10 TiB", "volume server", "MiB", [max(0.1, large - small)], GROWTH_MIB
    )


def tracking(directory: Path) -> Iterator[Row]:
    """What a tebibyte of volume costs while changes are tracked by region: on the disk, and in memory."""
    path = directory / "map"
    tracemalloc.start()
    try:
        head = MapHead(Position(), MapState.SUSPENDED, SuspendedCause.FULL)
        marks = DirtyMap.create(str(path), str(uuid.uuid4()), Position(), {0: 1024 * GIB}, head, {})
        memory_bytes = tracemalloc.get_traced_memory()[0]
        marks.close()
    finally:
        tracemalloc.stop()
    for place, size in (("disk", path.stat().st_size), ("memory", memory_bytes)):
        cost, limit = Figure.of([size / MIB]), Figure.of([1.0])
        text = f"map of changed regions, 1 TiB of volume: {place}"
        yield compare("12", text, "volume server", "1 MiB", "MiB", cost, limit, None)


def _anonymous_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"process {pid} tells nothing of its memory")


def processor(bench: Bench, rounds: int, seconds: float) -> Row:
    """Processor time of every process of the primary site for each write, against that of nbdkit on a file."""
    ours, theirs = [], []
    with Processes(bench.directory / "logs") as processes:
        plain = filled_file(bench.directory / "plain.img", 256 * MIB)
        with running_nbdkit(processes, bench.directory / "plain.sock", "file", plain, name="plain") as uri:
            server = psutil.Process(int((bench.directory / "plain.pid").read_text()))
            shares = watch([bench.sites.primary])
            for number in range(rounds):
                before = site_seconds(bench.sites.primary)
                rate = fio.run(WRITE, bench.uri("cost"), seconds, seed=number)
                bench.quiet("cost")
                ours.append((site_seconds(bench.sites.primary) - before) / (rate * seconds) * 1e6)
                before = process_seconds(server)
                rate = fio.run(WRITE, uri, seconds, seed=number)
                theirs.append((process_seconds(server) - before) / (rate * seconds) * 1e6)
            used = shares()
    text = "processor time for each 4k random write, fsync every 32"
    row = compare_cost("13", text, "primary site", "nbdkit file", "us", Figure.of(ours), Figure.of(theirs), CPU_GOAL)
    return explained(row, used)


def idle(bench: Bench) -> Iterator[Row]:
    """A paired volume that nobody writes to, from when nothing of the last write is left to do."""

    def settled() -> bool:
        pointers = (Pointer.DURABLE, Pointer.CHECKPOINT, Pointer.JOURNAL_OUT)
        return len({bench.position(bench.sites.primary, "cost", pointer).sequence for pointer in pointers}) == 1

    wait_until(settled, 30, "the last journal to be in a checkpoint and its space free", interval=0.1)
    before = [(_run_seconds(site), _written_bytes(site)) for site in bench.sites]
    told = watch(bench.sites)
    wait = time.monotonic() + IDLE_SECONDS
    wait_until(lambda: time.monotonic() >= wait, IDLE_SECONDS + 5, interval=0.5)
    shares = told()
    for site, (seconds, written) in zip(bench.sites, before, strict=True):
        percent = (_run_seconds(site) - seconds) / IDLE_SECONDS * 100
        text = f"idle, processor of {site.name}"
        yield explained(within("14", text, "site", "% of a core", [percent], IDLE_PERCENT), shares)
        grown = _written_bytes(site) - written
        row = Row(
            "14", f"idle, disk writes of {site.name}", "site", "the limit", "bytes",
            Figure.of([grown]), Figure.of([0]), float(grown > 0), 0.0, grown == 0, "at most",
        )  # fmt: skip
        yield row


def _run_seconds(site: Site) -> float:
    return sum(map(run_seconds, site.processes()))


def multiplied(bench: Bench, seconds: float) -> Iterator[Row]:
    """What one byte of a host becomes on the network and on the disk, both sites and everything else on it together."""
    for work in (WRITE, fio.Work("128k sequential write, fsync every 32", "write", 131072, 8, flush_every=32)):
        before = _settled_bytes(bench)
        host = fio.run(work, bench.uri("cost"), seconds, seed=3) * seconds * work.block_bytes
        after = _settled_bytes(bench)
        for place, start, end in zip(("network", "disk, both sites"), before, after, strict=True):
            text = f"bytes for each host byte, {work.text}: {place}"
            share = Figure.of([(end - start) / host])
            yield compare("16", text, "pair", "the host", "bytes", share, Figure.of([1.0]), None)


def _settled_bytes(bench: Bench) -> tuple[float, float]:
    """Sent over loopback and written to the disk so far, with nothing on its way.

    The disk is asked and not the processes: to these, one page of a large
    folio that is written through a map counts as the whole folio.
    """
    bench.quiet("cost")
    os.sync()
    device = os.stat(bench.directory).st_dev
    fields = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat").read_text().split()
    return float(psutil.net_io_counters(pernic=True)["lo"].bytes_sent), float(fields[6]) * 512


def _written_bytes(site: Site) -> int:
    total = 0
    for process in site.processes():
        with suppress(psutil.Error):
            total += int(process.io_counters().write_bytes)
    return total
