"""From the lines of a ledger to the figures of a stretch of time. Pure.

Time that no line and no mark speaks of is counted as not recorded: neither
protected nor unprotected. Protected time that no lag line speaks of had none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from hostagent.api.history import Percentiles, StateChange, StateTime, TakeoverEntry
from hostagent.api.models import PairState
from hostagent.history.lines import EndLine, LagLine, Line, StateLine, TakeoverLine, end_of
from hostagent.history.recorder import BYTES_FLOOR, PROTECTED, SECONDS_FLOOR
from hostagent.history.spread import ZERO, Spread

NANOSECONDS: Final = 1_000_000_000
CHANGES_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Spell:
    """A pair was in a state, half-open; `ended`: something else followed, or recording ended."""

    state: PairState
    begin_ns: int
    end_ns: int
    ended: bool = True

    @property
    def seconds(self) -> float:
        return (self.end_ns - self.begin_ns) / NANOSECONDS


@dataclass(frozen=True, slots=True)
class Figures:
    """What PairHistory says beyond who asks and what others know."""

    recorded_seconds: float
    protected_seconds: float
    unprotected_seconds_max: float
    states: list[StateTime]
    changes: list[StateChange]
    lag_seconds: Percentiles | None
    lag_bytes: Percentiles | None
    takeovers: list[TakeoverEntry]


def figures(lines: Sequence[Line], since_ns: int, until_ns: int, watched_until_ns: int) -> Figures:
    """Of the time from `since_ns` to `until_ns`; the last spell lasts until `watched_until_ns`, 0 when it ended."""
    found = [
        spell for spell in (_clipped(each, since_ns, until_ns) for each in spells(lines, watched_until_ns)) if spell
    ]
    protected = math.fsum(spell.seconds for spell in found if spell.state in PROTECTED)
    lag_seconds, lag_bytes = _lags(lines, since_ns, until_ns, protected)
    return Figures(
        recorded_seconds=math.fsum(spell.seconds for spell in found),
        protected_seconds=protected,
        unprotected_seconds_max=_longest_unprotected(found),
        states=_times(found),
        changes=[
            StateChange(state=each.state, since_ns=each.begin_ns, seconds=each.seconds, ended=each.ended)
            for each in found[-CHANGES_MAX:]
        ],
        lag_seconds=_percentiles(lag_seconds),
        lag_bytes=_percentiles(lag_bytes),
        takeovers=[
            line.takeover for line in lines if isinstance(line, TakeoverLine) and since_ns <= line.at_ns < until_ns
        ],
    )


def spells(lines: Iterable[Line], watched_until_ns: int) -> list[Spell]:
    """The states one after the other, as far as they were watched."""
    found: list[Spell] = []
    state: PairState | None = None
    begin = told = 0

    def close(end_ns: int, ended: bool = True) -> None:
        if state is not None and end_ns > begin:
            found.append(Spell(state, begin, end_ns, ended))

    for line in lines:
        if isinstance(line, StateLine):
            close(line.at_ns if line.recorded_until_ns is None else min(line.recorded_until_ns, line.at_ns))
            state, begin = line.state, line.at_ns
        elif isinstance(line, EndLine):
            close(line.at_ns)
            state = None
        told = max(told, end_of(line))
    close(max(watched_until_ns, told) if watched_until_ns else told, ended=not watched_until_ns)
    return found


def of_values(values: Iterable[float | None]) -> Percentiles | None:
    """Of single values that count alike; nearest rank, exact."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return None
    rank = {share: known[max(0, math.ceil(share * len(known)) - 1)] for share in (0.5, 0.95, 0.99)}
    return Percentiles(p50=rank[0.5], p95=rank[0.95], p99=rank[0.99], max=known[-1])


def _clipped(spell: Spell, since_ns: int, until_ns: int) -> Spell | None:
    begin, end = max(spell.begin_ns, since_ns), min(spell.end_ns, until_ns)
    return Spell(spell.state, begin, end, spell.ended) if begin < end else None


def _lags(lines: Iterable[Line], since_ns: int, until_ns: int, protected: float) -> tuple[Spread, Spread]:
    """A line on the edge counts whole: it is a minute, or an old hour or day."""
    seconds, data = Spread(SECONDS_FLOOR), Spread(BYTES_FLOOR)
    told = 0.0
    for line in lines:
        if isinstance(line, LagLine) and line.until_ns > since_ns and line.at_ns < until_ns:
            seconds.merge(line.lag_seconds.weights, line.lag_seconds.max)
            data.merge(line.lag_bytes.weights, line.lag_bytes.max)
            told += line.seconds
    quiet = protected - told
    if quiet > 0:
        seconds.merge({ZERO: quiet}, 0.0)
        data.merge({ZERO: quiet}, 0.0)
    return seconds, data


def _percentiles(spread: Spread) -> Percentiles | None:
    p50, p95, p99 = (spread.percentile(share) for share in (0.5, 0.95, 0.99))
    if p50 is None or p95 is None or p99 is None:
        return None
    return Percentiles(p50=round(p50, 6), p95=round(p95, 6), p99=round(p99, 6), max=spread.max)


def _times(found: Sequence[Spell]) -> list[StateTime]:
    times = []
    for state in PairState:
        mine = [spell.seconds for spell in found if spell.state is state]
        if mine:
            times.append(StateTime(state=state, seconds=round(math.fsum(mine), 3), spells=len(mine)))
    return times


def _longest_unprotected(found: Sequence[Spell]) -> float:
    """Of stretches without a protected state; what was not recorded in the middle of one is not counted."""
    longest = present = 0.0
    for spell in found:
        present = 0.0 if spell.state in PROTECTED else present + spell.seconds
        longest = max(longest, present)
    return longest
