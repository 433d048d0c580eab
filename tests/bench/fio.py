"""One fio run against an NBD address; its exit and its error counts are checked."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """What one client does. `flush_every` counts writes; 0: never."""

    text: str
    pattern: str  # randwrite, write, randread
    block_bytes: int
    depth: int
    flush_every: int = 0
    rate_iops: int | None = None  # at most so many a second

    @property
    def reads(self) -> bool:
        return self.pattern.endswith("read")


def command(work: Work, uris: Sequence[str], seconds: float, seed: int) -> list[str]:
    """One job for each address, all begun at once."""
    words = [
        "fio",
        "--output-format=json",
        "--group_reporting=1",
        "--ioengine=nbd",
        f"--rw={work.pattern}",
        f"--bs={work.block_bytes}",
        f"--iodepth={work.depth}",
        f"--randseed={seed}",
        f"--runtime={seconds * 1000:.0f}ms",
        "--time_based=1",
        "--randrepeat=0",
        "--norandommap=1",
    ]
    if work.flush_every:
        words.append(f"--fsync={work.flush_every}")
    if work.rate_iops:
        words.append(f"--rate_iops={work.rate_iops}")
    for number, uri in enumerate(uris):
        words += [f"--name=bench{number}", f"--uri={uri}"]
    return words


def run(work: Work, uri: str, seconds: float, seed: int) -> float:
    """Operations a second of one run. Raises when fio failed, or an operation did, or none was done."""
    return run_together(work, [uri], seconds, seed)


def run_together(work: Work, uris: Sequence[str], seconds: float, seed: int) -> float:
    """The same of several clients at once, all together."""
    answer = subprocess.run(command(work, uris, seconds, seed), capture_output=True, text=True, check=False)
    if answer.returncode:
        raise RuntimeError(f"fio ended with {answer.returncode} on {uris[0]}: {answer.stderr.strip()[-500:]}")
    (job,) = json.loads(answer.stdout[answer.stdout.index("{") :])["jobs"]
    side = job["read" if work.reads else "write"]
    if job["error"] or not side["total_ios"]:
        raise RuntimeError(f"fio reports error {job['error']} after {side['total_ios']} operations on {uris[0]}")
    return float(side["total_ios"] / (side["runtime"] / 1000))
