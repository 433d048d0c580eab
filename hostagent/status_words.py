"""The parts of a first line: sides, lag, last success, silence, what the primary alone tells.

Owns words, no verdict. Given facts of sides that answer (`known.answering`) it
claims nothing of the others. Times are UTC, since two sites read them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from controller.api.models import AcquisitionMode, JournalState, Role, SuspendedCause
from controller.journal.pointers import Pointer
from controller.journal.sizes import BLOCK_BYTES
from controller.units import counted, format_duration, format_size
from hostagent.copy_manager.facts import Facts
from hostagent.copy_manager.lag import Lag, position
from hostagent.copy_manager.observe import Unknown
from hostagent.copy_manager.side import Instant
from hostagent.known import journals, seconds_to_full, untracked

DAY_NS: Final = 86_400 * 1_000_000_000


def direction(facts: Facts) -> str:
    return f"{facts.pair.primary.site} -> {facts.pair.secondary.site}"


def lag_words(behind: Lag | None) -> str:
    """`0.2 s (1.1 MiB)`; with `at least` when nobody knows since when, and `unknown` when that would be nearly none."""
    if behind is None:
        return "unknown"
    seconds = format_duration(behind.seconds)
    if behind.lower_bound:
        seconds = f"at least {seconds}" if behind.seconds >= 1 else "unknown"
    return f"{seconds} ({format_size(behind.total_bytes)})"


def last(facts: Facts, now: Instant, behind: Lag | None) -> str:
    """How far behind a secondary is that does not follow, and what it has; nothing of one that is unknown."""
    return f"; lag {lag_words(behind)}, {restored(facts, now)}" if facts.secondary.state is not None else ""


def restored(facts: Facts, now: Instant) -> str:
    time_ns = facts.secondary.position(Pointer.ALREADY_RESTORED).time_ns
    words = f"last restored {clock(time_ns, now)}" if time_ns else "nothing written yet"
    state = facts.secondary.state
    drills = state.drills if state is not None else 0
    if not drills:
        return words
    return f'{words}, restore waits for {counted(drills, "open drill")} ("pairvol drill stop {facts.pair.group}")'


def changed(facts: Facts) -> str:
    state = facts.primary.state
    return f" ({format_size(state.dirty_bytes)})" if state is not None and state.dirty_bytes else ""


def fill(facts: Facts) -> str:
    """`journal 83 % full, full in 1 min 30 s`; empty while nothing is in it and it does not fill."""
    state, seconds = facts.primary.state, seconds_to_full(facts)
    if state is None or not journals(state) or (seconds is None and state.fill_percent < 1):
        return ""
    words = f"journal {int(state.fill_percent) or '<1'} % full"
    return words if seconds is None else f"{words}, full in {format_duration(seconds)}"


def without_secondary(facts: Facts, now: Instant) -> str:
    """What the primary knows by itself: what the secondary has confirmed, and what becomes of writes now."""
    state = facts.primary.state
    if state is None or state.role is not Role.PRIMARY:
        return ""
    return "".join(f"; {words}" for words in (confirmed(facts, now), _writes(facts, state)) if words)


def confirmed(facts: Facts, now: Instant) -> str:
    """`osaka confirmed journals up to 10:15:03.2Z, 1.1 MiB came since`."""
    state = facts.primary.state
    if state is None:
        return ""
    known, newest = position(state, Pointer.CONFIRMED), position(state, Pointer.JOURNAL_IN)
    if not known.time_ns:
        return ""
    since = max(0, newest.data_position - known.data_position) * BLOCK_BYTES
    tail = f", {format_size(since)} came since" if since else ""
    return f"{facts.pair.secondary.site} confirmed journals up to {clock(known.time_ns, now)}{tail}"


def _writes(facts: Facts, state: JournalState) -> str:
    if untracked(state):
        return "acquisition is stopped, changes are not tracked"
    if state.mode is not AcquisitionMode.SUSPENDED:
        return fill(facts)
    why = "it was split by an operator, " if state.suspended_cause is SuspendedCause.OPERATOR else ""
    return f"{why}changes tracked{changed(facts)}"


def unknown_words(unknown: tuple[Unknown, ...], now: Instant) -> str:
    """`osaka unknown since 10:15:03.2Z`; says which of its two programs is silent when the other answers."""
    return " and ".join(
        f"{'storage controller of ' if side.agent_answers else ''}{side.site} unknown since {clock(side.since_ns, now)}"
        for side in unknown
    )


def clock(time_ns: int, now: Instant) -> str:
    """`10:15:03.2Z`, with its date when it is not of the last day."""
    moment = datetime.fromtimestamp(time_ns / 1e9, UTC)
    text = f"{moment:%H:%M:%S}.{moment.microsecond // 100_000}Z"
    return text if abs(now.wall_ns - time_ns) < DAY_NS else f"{moment:%Y-%m-%d}T{text}"
