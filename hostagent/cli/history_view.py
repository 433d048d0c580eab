"""How the past of a pair is shown: what was achieved, then states, lag, takeovers and drills.

Owns text only; every figure is the agent's.
"""

from __future__ import annotations

from controller.units import format_duration, format_size
from hostagent.api.history import PairHistory, Percentiles, TakeoverEntry
from hostagent.cli.drill import check_words
from hostagent.cli.output import NONE, clock, count, counted, table

NANOSECONDS = 1_000_000_000
PERCENTILES = ("P50", "P95", "P99", "MAX")


def history_text(past: PairHistory) -> str:
    """A few tables; one that would be empty says so in a line."""
    parts = [_head(past), _states(past), _lag(past), _takeovers(past), _drills(past)]
    parts += [f"{site} does not answer: what only it knows is missing" for site in past.silent]
    return "\n\n".join(parts)


def _head(past: PairHistory) -> str:
    asked = (past.until_ns - past.since_ns) / NANOSECONDS
    share = 100 * past.protected_seconds / past.recorded_seconds if past.recorded_seconds else 0.0
    lines = [
        f"{past.group} was protected {_percent(share)} of the {format_duration(past.recorded_seconds)} recorded by "
        f"{past.site} since {clock(past.since_ns)} ({format_duration(asked)})"
    ]
    if past.unprotected_seconds:
        lines.append(
            f"without protection {format_duration(past.unprotected_seconds)}, "
            f"at most {format_duration(past.unprotected_seconds_max)} at a time"
        )
    return "\n".join(lines)


def _states(past: PairHistory) -> str:
    if not past.states:
        return "no states recorded"
    rows = [
        (
            each.state.value,
            format_duration(each.seconds),
            _percent(100 * each.seconds / past.recorded_seconds if past.recorded_seconds else 0.0),
            count(each.spells),
        )
        for each in past.states
    ]
    return table(("STATE", "TIME", "SHARE", "SPELLS"), rows, right=("TIME", "SHARE", "SPELLS"))


def _lag(past: PairHistory) -> str:
    if past.lag_seconds is None or past.lag_bytes is None:
        return "no lag recorded"
    rows = [
        ("seconds", *(_seconds(value) for value in _values(past.lag_seconds))),
        ("bytes", *(format_size(value) for value in _values(past.lag_bytes))),
    ]
    return table(("LAG", *PERCENTILES), rows, right=PERCENTILES)


def _takeovers(past: PairHistory) -> str:
    if not past.takeovers:
        return "no takeovers"
    rows = [
        (
            clock(each.ended_ns),
            each.site,
            each.kind,
            count(each.generation),
            _seconds(each.seconds),
            _rpo(each),
            _missing(each),
            clock(each.restored_time_ns) if each.restored_time_ns else NONE,
        )
        for each in past.takeovers
    ]
    head = ("TAKEOVER", "TO", "KIND", "GENERATION", "RTO", "RPO", "MISSING", "RESTORED")
    return "\n".join([table(head, rows, right=("GENERATION", "RTO", "RPO")), *_rto("RTO", past.takeover_seconds)])


def _drills(past: PairHistory) -> str:
    if not past.drills:
        return "no drills"
    rows = [
        (
            clock(each.started_ns),
            each.site,
            str(each.number),
            str(each.state),
            _seconds(each.ready_seconds),
            _seconds(each.lag_seconds),
            check_words(each),
            NONE if each.check is None else format_duration(each.check.seconds),
        )
        for each in past.drills
    ]
    head = ("DRILL", "AT", "ID", "STATE", "READY", "RPO", "CHECK", "TOOK")
    return "\n".join(
        [table(head, rows, right=("ID", "READY", "RPO", "TOOK")), *_rto("READY", past.drill_ready_seconds)]
    )


def _rto(what: str, found: Percentiles | None) -> list[str]:
    if found is None:
        return []
    words = zip(PERCENTILES, _values(found), strict=True)
    return [f"{what}: " + ", ".join(f"{name.lower()} {_seconds(value)}" for name, value in words)]


def _rpo(each: TakeoverEntry) -> str:
    if each.lag_seconds is not None:
        return _seconds(each.lag_seconds)
    return "unknown" if each.lag_seconds_max is None else f"at most {_seconds(each.lag_seconds_max)}"


def _missing(each: TakeoverEntry) -> str:
    words = [f"back to a safe point, {counted(each.journals_dropped, 'journal')} dropped"] if _went_back(each) else []
    if each.missing_journals is None:
        return ", ".join([*words, "the rest cannot be known" if words else "cannot be known"])
    if each.missing_journals:
        words.append(f"{counted(each.missing_journals, 'journal')} ({format_size(each.missing_bytes or 0)})")
    if each.changed_bytes_missing:
        words.append(f"{format_size(each.changed_bytes_missing)} changed without journals")
    return ", ".join(words) or "nothing"


def _went_back(each: TakeoverEntry) -> bool:
    return each.from_safe_point or each.journals_dropped > 0


def _values(found: Percentiles) -> tuple[float, float, float, float]:
    return found.p50, found.p95, found.p99, found.max


def _seconds(value: float | None) -> str:
    """Two digits where it is short: 0.04 s is not nothing."""
    if value is None:
        return NONE
    return f"{value:.2f} s" if 0 < value < 1 else format_duration(value)


def _percent(value: float) -> str:
    """Never 100 unless it is."""
    return f"{value:.0f} %" if value in (0.0, 100.0) else f"{min(value, 99.99):.2f} %"
