"""What an agent tells of a pair's past: shapes only. Keys are only ever added."""

from __future__ import annotations

from pydantic import Field

from controller.api.models import Count, Name, Shape
from hostagent.api.drills import DrillReport
from hostagent.api.models import PairState


class Percentiles(Shape):
    """At most p50 for half of the time, and so on; a percentile may be 9 % too large, `max` is exact."""

    p50: float
    p95: float
    p99: float
    max: float


class TakeoverEntry(Shape):
    """A takeover as the site remembers it that serves since."""

    site: Name
    ended_ns: Count
    kind: str  # planned or forced
    generation: Count
    seconds: float | None  # achieved RTO; None: the agent was killed in the middle, and the command given again
    lag_seconds: float | None  # achieved RPO; None: cannot be known, the primary did not answer
    lag_seconds_max: float | None  # it was not more than this
    missing_journals: Count | None  # None: cannot be known
    missing_bytes: Count | None
    changed_bytes_missing: Count = 0
    from_safe_point: bool = False  # of a resync that was under way
    journals_dropped: Count = 0  # that had arrived, and were of no use without the rest of that resync
    restored_sequence: Count
    restored_time_ns: Count


class StateTime(Shape):
    """How long, and how often, a pair was in a state."""

    state: PairState
    seconds: float
    spells: Count


class StateChange(Shape):
    state: PairState
    since_ns: Count
    seconds: float
    ended: bool  # False: it still is


class PairHistory(Shape):
    """A pair's past as one agent saw it, with takeovers and drills of both sites."""

    group: Name
    site: Name  # whose agent saw it
    since_ns: Count
    until_ns: Count
    recorded_seconds: float  # of that time; while the agent did not run nothing is known
    protected_seconds: float  # in PAIR or PFUL
    unprotected_seconds: float
    unprotected_seconds_max: float  # the longest stretch of it
    states: list[StateTime]
    changes: list[StateChange] = Field(description="The last hundred, oldest first.")
    lag_seconds: Percentiles | None  # while it was protected; None: it never was
    lag_bytes: Percentiles | None
    takeovers: list[TakeoverEntry]
    takeover_seconds: Percentiles | None
    drills: list[DrillReport]
    drill_ready_seconds: Percentiles | None
    silent: list[Name] = Field(default_factory=list)  # sites that did not answer: theirs may be missing
