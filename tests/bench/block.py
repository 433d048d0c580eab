"""Rows 1 to 6: what a client of a volume sees, by fio."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench import fio, limit
from tests.bench.peers import Peer
from tests.bench.qemu import MIRROR
from tests.bench.rows import Measure, Row, alternate, compare

PEER = "nbdkit file"
BARE = "qemu-nbd"
MIRROR_GOAL = 2.0  # of a paired volume to one that QEMU mirrors
RANDOM_4K_WRITE = fio.Work("4k random write, depth 16, no flush", "randwrite", 4096, 16)
RANDOM_4K_READ = fio.Work("4k random read, depth 16, idle", "randread", 4096, 16)
# A writer beside the reader, slow enough that every peer keeps up with it.
BESIDE = fio.Work("writer", "randwrite", 4096, 4, flush_every=64, rate_iops=1500)


@dataclass(frozen=True)
class BlockRow:
    row: str
    work: fio.Work
    goal: float  # of pairvol paired to nbdkit file
    under_writes: bool = False


ROWS = (
    BlockRow("1", fio.Work("4k random write, depth 16, fsync every 32", "randwrite", 4096, 16, flush_every=32), 2.5),
    BlockRow("2", fio.Work("4k random write, depth 1, fsync each", "randwrite", 4096, 1, flush_every=1), 1.5),
    BlockRow("3", RANDOM_4K_WRITE, 0.9),
    BlockRow("4", fio.Work("128k sequential write, depth 8", "write", 128 * 1024, 8), 0.8),
    BlockRow("5", RANDOM_4K_READ, 1.0),
    BlockRow("5", fio.Work("4k random read, depth 16, under writes", "randread", 4096, 16), 1.0, under_writes=True),
)


def measure_rows(
    rows: Sequence[BlockRow], peers: Sequence[Peer], directory: Path, rounds: int, seconds: float, cold: bool
) -> Iterator[Row]:
    """For each work: every peer in turn, round by round; yields our volumes against each of them.

    `cold`: the page cache gives up before each run what it may.
    """
    for each in rows:
        measures = {peer.name: _measure(each, peer, seconds, cold) for peer in peers}
        if not each.work.reads:
            measures[limit.NAME] = limit.measure(directory, each.work, seconds)
        by_name = dict(zip(measures, alternate(list(measures.values()), rounds), strict=True))
        for subject in ("unpaired", "paired"):
            ours = by_name[subject]
            goal = each.goal if subject == "paired" else None
            yield compare(each.row, each.work.text, subject, PEER, "IO/s", ours, by_name[PEER], goal)
        for peer, goal in ((BARE, None), (limit.NAME, None), (MIRROR, MIRROR_GOAL)):
            if peer in by_name:
                row = "6" if peer == MIRROR else each.row
                yield compare(row, each.work.text, "paired", peer, "IO/s", by_name["paired"], by_name[peer], goal)


def _measure(each: BlockRow, peer: Peer, seconds: float, cold: bool) -> Measure:
    def measure(number: int) -> float:
        os.sync()  # nobody pays for the dirty pages of the one before
        peer.before()
        if cold:
            Path("/proc/sys/vm/drop_caches").write_text("1")
        with beside(each, peer, seconds):
            found = fio.run(each.work, peer.uri, seconds, seed=number + 1)
        peer.after()
        return found

    return measure


@contextmanager
def beside(each: BlockRow, peer: Peer, seconds: float) -> Iterator[None]:
    """In a row under writes, a second client writes as long as the block runs, and a little longer."""
    if not each.under_writes:
        yield
        return
    failures: list[Exception] = []

    def write() -> None:
        try:
            fio.run(BESIDE, peer.uri, seconds + 0.5, seed=99)
        except (RuntimeError, OSError) as error:
            failures.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    if failures:
        raise failures[0]
