"""The physical limit of a journaling volume: the disk alone, written with the same bytes in one sequential run.

No server, no client, no second site: what the disk and the kernel give to
one thread that does what a journal at least must do.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.bench.fio import Work
from tests.bench.peers import JOURNAL_BYTES, filled_file
from tests.bench.rows import Measure

NAME = "the disk alone"
SYNC_SECONDS = 0.01  # between syncs where hosts never flush, as a busy journal's


def measure(directory: Path, work: Work, seconds: float) -> Measure:
    """Writes a second of the same length, one behind the other, synced when the host would flush, or often enough."""
    path = directory / "sequential"
    if not path.exists():
        filled_file(path, JOURNAL_BYTES)

    def run(_: int) -> float:
        os.sync()
        data, count, offset = os.urandom(work.block_bytes), 0, 0
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            began = synced = time.perf_counter()
            while (now := time.perf_counter()) < began + seconds:
                os.pwrite(file, data, offset)
                count, offset = count + 1, (offset + len(data)) % JOURNAL_BYTES
                if work.flush_every and count % work.flush_every == 0:
                    os.fdatasync(file)
                elif not work.flush_every and now - synced >= SYNC_SECONDS:
                    os.fdatasync(file)
                    synced = time.perf_counter()
            os.fdatasync(file)
            return count / (time.perf_counter() - began)
        finally:
            os.close(file)

    return run
