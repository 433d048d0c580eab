"""What a takeover cost, as it goes into the ledger. Pure.

RPO is how old the oldest write is that did not make it, counted to the newest
one. With the primary silent nobody can know that; then only a bound is told:
the time since the last moment at which everything is known to have been here.
"""

from __future__ import annotations

from controller.journal.pointers import Pointer
from hostagent.api.history import TakeoverEntry
from hostagent.api.models import TakeoverReport
from hostagent.copy_manager.facts import Facts
from hostagent.copy_manager.lag import NANOSECONDS, position, reached_ns
from hostagent.copy_manager.side import Instant


def takeover_entry(
    site: str, report: TakeoverReport, facts: Facts, now: Instant, *, again: bool = False
) -> TakeoverEntry:
    """`again`: the command found the takeover done, so how long that took is not known."""
    lag, bound = _loss(report, facts, now)
    return TakeoverEntry(
        site=site,
        ended_ns=now.wall_ns,
        kind=report.kind,
        generation=report.generation,
        seconds=None if again else round(report.seconds, 3),
        lag_seconds=lag,
        lag_seconds_max=bound,
        missing_journals=report.missing_journals,
        missing_bytes=report.missing_bytes,
        changed_bytes_missing=report.changed_bytes_missing,
        from_safe_point=report.from_safe_point,
        journals_dropped=report.journals_dropped,
        restored_sequence=report.restored_sequence,
        restored_time_ns=report.restored_time_ns,
    )


def _loss(report: TakeoverReport, facts: Facts, now: Instant) -> tuple[float | None, float | None]:
    """Known seconds, and at most so many."""
    primary, secondary = facts.primary.state, facts.secondary.state
    if report.lost_nothing:
        return 0.0, 0.0
    if report.from_safe_point or report.journals_dropped:  # what it went back behind was here: that time is known
        reached = report.restored_time_ns or facts.pair.created_ns
        return None, round(max(0.0, (now.wall_ns - reached) / NANOSECONDS), 3)
    if secondary is None:
        return None, None
    reached = reached_ns(secondary, facts.covered, facts.pair.created_ns)
    bound: float | None = (now.wall_ns - reached) / NANOSECONDS
    if reached > now.wall_ns:  # the clock was set since: what the agent saw of it, when it saw enough
        bound = facts.looks.missing(position(secondary, Pointer.ALREADY_READ).sequence, now.seconds).at_most
    bound = None if bound is None else round(bound, 3)
    if report.missing_journals is None or primary is None or report.changed_bytes_missing:
        return None, bound  # changed regions carry no time
    newest = position(primary, Pointer.JOURNAL_IN).time_ns
    if newest < reached:  # the clock was set back, and the journals that are missing tell nothing
        return None, bound
    known = round((newest - reached) / NANOSECONDS, 3)
    return known, known
