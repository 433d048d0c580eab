"""Was anything lost, and was the order kept? What was acknowledged against what is there.

Owns the comparison and the verdict. It is given facts (logs, a mounted file
system, a tail) and starts, writes and prints nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hostagent.cli.demo.workload import (
    RECORD_BYTES,
    RECORD_FILES,
    SyncedFile,
    digest,
    make_record,
)


@dataclass
class FileComparison:
    """Files that were durable before the recovery point, held against the recovered file system."""

    files: int = 0
    total_bytes: int = 0
    missing: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> int:
        return len(self.missing) + len(self.different)


@dataclass(frozen=True)
class RecoveredRecords:
    """The writer's records as they stand in the recovered file system."""

    numbers: frozenset[int]
    damaged: int  # places that hold anything but the record that belongs there, or zeros
    zeros: frozenset[int] = frozenset()  # places in a file, by the record that belongs there, that hold zeros

    @property
    def last(self) -> int:
        return max(self.numbers, default=0)

    @property
    def order_violations(self) -> int:
        """Records that are absent although a later one is there, and damaged places.

        The one record in flight may read as zeros: until its fsync returns,
        ext4 may commit the longer size of its file while the allocated block
        is still unwritten (one in some 150 prefixes of the writes to a plain
        device is so, without replication). Any other zeros are damage,
        and acknowledged records are looked for by number: zeros hide none.
        """
        in_flight = {self.last + 1}
        return self.last - len(self.numbers) + self.damaged + len(self.zeros - in_flight)


@dataclass
class RecordComparison:
    """The writer's acknowledgements against what the secondary recovered, without and with the primary's tail."""

    acknowledged: int
    recovered: int
    in_tail: int  # acknowledged, not recovered, there once the primary's tail is applied
    lost: list[int]  # acknowledged and not there even then
    late: list[int]  # acknowledged before the recovery point and yet not recovered
    order_violations: int


def compare_files(files: Iterable[SyncedFile], mount: Path, recovery_ns: int) -> FileComparison:
    """Read every file that was durable at the recovery point, and compare size and checksum."""
    result = FileComparison()
    required = {file.place: file for file in files if file.time_ns <= recovery_ns}

    def look(file: SyncedFile) -> tuple[SyncedFile, bytes | None]:
        try:
            return file, (mount / file.place).read_bytes()
        except OSError:
            return file, None

    with ThreadPoolExecutor(4) as pool:
        for file, data in pool.map(look, required.values(), chunksize=64):
            result.files += 1
            result.total_bytes += file.size_bytes
            if data is None:
                result.missing.append(file.place)
            elif len(data) != file.size_bytes or digest(data) != file.digest:
                result.different.append(file.place)
    return result


def read_records(mount: Path, run: str) -> RecoveredRecords:
    """Every record of a run found at the place where it belongs."""
    numbers: set[int] = set()
    zeros: set[int] = set()
    damaged = 0
    for index in range(RECORD_FILES):
        path = mount / "records" / str(index)
        data = path.read_bytes() if path.exists() else b""
        # Record n is in file n % RECORD_FILES, and numbers begin with 1.
        first = index or RECORD_FILES
        for place, start in enumerate(range(0, len(data), RECORD_BYTES)):
            expected = first + place * RECORD_FILES
            found = data[start : start + RECORD_BYTES]
            if found == make_record(run, expected):
                numbers.add(expected)
            elif found == bytes(RECORD_BYTES):
                zeros.add(expected)
            else:
                damaged += 1
    return RecoveredRecords(frozenset(numbers), damaged, frozenset(zeros))


def compare_records(
    acknowledged: Mapping[int, int], recovered: RecoveredRecords, completed: RecoveredRecords, recovery_ns: int
) -> RecordComparison:
    """Where every acknowledged record is. `acknowledged` maps numbers to times; `completed` is with the tail."""
    missing = [number for number in sorted(acknowledged) if number not in recovered.numbers]
    return RecordComparison(
        acknowledged=len(acknowledged),
        recovered=len(recovered.numbers),
        in_tail=sum(number in completed.numbers for number in missing),
        # What was recovered must not vanish with the tail either: so all are looked for, not the missing alone.
        lost=[number for number in sorted(acknowledged) if number not in completed.numbers],
        late=[number for number in missing if acknowledged[number] <= recovery_ns],
        order_violations=recovered.order_violations + completed.order_violations,
    )


def percentile(samples: Sequence[float], share: float) -> float | None:
    """The value that `share` of the samples do not exceed; None without samples."""
    if not samples:
        return None
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def mean(samples: Sequence[float]) -> float | None:
    """None without samples."""
    return sum(samples) / len(samples) if samples else None


@dataclass
class Outcome:
    """Everything the demonstration found out, as `--json` prints it."""

    checks: dict[str, bool] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return bool(self.checks) and all(self.checks.values())

    def document(self) -> dict[str, Any]:
        """One object: the verdict, the checks, then the figures."""
        return {"verdict": "OK" if self.passed else "CRIT", "checks": self.checks, **self.figures}
