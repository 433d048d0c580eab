"""What is measured: the rows, their peers and their goals, and how rounds become one row.

Within a round every peer takes its turn, so that what the machine does
meanwhile hits all of them alike; a row is the median of its rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
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
    """One comparison. `unit` belongs to ours and theirs; `goal` is of the ratio, None where there is none.

    `sense` says whether the ratio is to be at least the goal, or at most.
    """

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
    sense: str = "at least"
    profile: dict[str, float] = field(default_factory=dict)  # of a row not reached: tests/bench/profile.py

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def compare(
    row: str, work: str, subject: str, peer: str, unit: str, ours: Figure, theirs: Figure, goal: float | None
) -> Row:
    """Ours is to be so many times theirs, or more."""
    ratio = ours.median / theirs.median
    return Row(row, work, subject, peer, unit, ours, theirs, ratio, goal, None if goal is None else ratio >= goal)


def compare_cost(
    row: str, work: str, subject: str, peer: str, unit: str, ours: Figure, theirs: Figure, goal: float
) -> Row:
    """Ours is something that costs: it is to be so many times theirs, or less."""
    ratio = ours.median / theirs.median
    return Row(row, work, subject, peer, unit, ours, theirs, ratio, goal, ratio <= goal, "at most")


def within(row: str, work: str, subject: str, unit: str, values: Sequence[float], limit: float) -> Row:
    """Ours is to stay below a limit that no peer sets."""
    return compare_cost(row, work, subject, "the limit", unit, Figure.of(values), Figure(limit, limit, limit), 1.0)


def explained(row: Row, profile: dict[str, float]) -> Row:
    """With what tells why, when the goal is not reached."""
    return replace(row, profile=profile) if row.met is False else row


def alternate(measures: Sequence[Measure], rounds: int) -> list[Figure]:
    """A B A B: every measure once a round, the first round's order kept; one figure for each measure."""
    values: list[list[float]] = [[] for _ in measures]
    for number in range(rounds):
        for measure, seen in zip(measures, values, strict=True):
            seen.append(measure(number))
    return [Figure.of(seen) for seen in values]
