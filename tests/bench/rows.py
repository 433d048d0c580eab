"""What is measured: the rows, their peers and their goals, and how rounds become one row.

Within a round every peer takes its turn, so that what the machine does
meanwhile hits all of them alike; a row is the median of its rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

Measure = Callable[[int], float]  # takes the round's number, returns something a second


@dataclass(frozen=True)
class Figure:
    """Median, lowest and highest of the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Figure:
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True)
class Row:
    """One comparison. `unit` belongs to ours and theirs; `goal` is of the ratio, None where there is none."""

    row: str
    work: str
    subject: str  # what of pairvol was measured
    peer: str
    unit: str
    ours: Figure
    theirs: Figure
    ratio: float
    goal: float | None
    met: bool | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def compare(
    row: str, work: str, subject: str, peer: str, unit: str, ours: Figure, theirs: Figure, goal: float | None
) -> Row:
    ratio = ours.median / theirs.median
    return Row(row, work, subject, peer, unit, ours, theirs, ratio, goal, None if goal is None else ratio >= goal)


def alternate(measures: Sequence[Measure], rounds: int) -> list[Figure]:
    """A B A B: every measure once a round, the first round's order kept; one figure for each measure."""
    values: list[list[float]] = [[] for _ in measures]
    for number in range(rounds):
        for measure, seen in zip(measures, values, strict=True):
            seen.append(measure(number))
    return [Figure.of(seen) for seen in values]
