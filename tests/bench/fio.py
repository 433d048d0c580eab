"""One fio run against an NBD address; its exit and its error counts are checked."""

from __future__ import annotations

import json
import subprocess
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


def command(work: Work, uri: str, seconds: float, seed: int) -> list[str]:
    words = [
        "fio",
        "--name=bench",
        "--output-format=json",
        "--ioengine=nbd",
        f"--uri={uri}",
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
    return words


def run(work: Work, uri: str, seconds: float, seed: int) -> float:
    """Operations a second of one run. Raises when fio failed, or an operation did, or none was done."""
    answer = subprocess.run(command(work, uri, seconds, seed), capture_output=True, text=True, check=False)
    if answer.returncode:
        raise RuntimeError(f"fio ended with {answer.returncode} on {uri}: {answer.stderr.strip()[-500:]}")
    job = json.loads(answer.stdout[answer.stdout.index("{") :])["jobs"][0]
    side = job["read" if work.reads else "write"]
    if job["error"] or not side["total_ios"]:
        raise RuntimeError(f"fio reports error {job['error']} after {side['total_ios']} operations on {uri}")
    return float(side["iops"])
