"""The answer to "am I protected right now?": verdict, line, cause, next command, one row for each side.

Owns the words. Pure: what is so is decided by `copy_manager/observe.py`. Times in a line
are UTC, since two sites read it. Of a side that does not answer nothing is
said but since when.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from controller.api.models import CopyState, JournalState, OnFull, Role, SplitMode
from controller.journal.pointers import Pointer
from controller.units import counted, format_duration, format_size
from hostagent.api.models import PairSide, PairState, PairStatus, SiteVolumes, Verdict
from hostagent.config import CopySettings
from hostagent.copy_manager.facts import Facts, Instant, SideFacts
from hostagent.copy_manager.lag import Lag
from hostagent.copy_manager.observe import Observed, Unknown, observe
from hostagent.hosts.spoken_for import spoken_for
from hostagent.life.missing import overwritten
from hostagent.life.resync import automatic
from hostagent.limit import limit_words
from hostagent.pairs import PairEvent, next_state

DAY_NS: Final = 86_400 * 1_000_000_000


def pair_status(facts: Facts, now: Instant, settings: CopySettings) -> PairStatus:
    """Everything a person or a monitoring system wants to know about one pair."""
    observed = observe(facts, now, settings)
    state = next_state(PairState.SMPL, observed.event, facts.pair.group)
    behind = facts.behind if _follows(facts, observed, state) else None
    verdict, line, cause, command = _WORDS[state](facts, now, settings, observed, behind)
    restored = facts.secondary.position(Pointer.ALREADY_RESTORED).time_ns
    unknown = {side.site: side for side in observed.unknown}
    status = PairStatus(
        group=facts.pair.group,
        verdict=verdict,
        state=state,
        number=state.number,
        line=line,
        cause=cause,
        next_command=command,
        lag_seconds=behind.seconds if behind else None,
        lag_bytes=behind.total_bytes if behind else None,
        last_restored_ns=restored or None,
        last_contact_ns=facts.contact.wall_ns if facts.contact else None,
        generation=facts.generation_known,
        limit_bytes_per_second=facts.pair.policy.limit_bytes_per_second,
        compression=facts.pair.policy.compression,
        compression_now=facts.secondary.state.compression if facts.secondary.state else None,
        transfer_bytes=facts.secondary.state.transfer_bytes if facts.secondary.state else None,
        wire_bytes=facts.secondary.state.wire_bytes if facts.secondary.state else None,
        seconds_to_full=facts.primary.state.seconds_to_full if facts.primary.state and not observed.unknown else None,
        sides=[
            _side("P-VOL", facts.pair.primary, facts.primary, state, unknown, None, None),
            _side("S-VOL", facts.pair.secondary, facts.secondary, state, unknown, behind, _copy_percent(facts)),
        ],
    )
    return spoken_for(status, facts, observed.unknown)


def _follows(facts: Facts, observed: Observed, state: PairState) -> bool:
    """Whether there is a lag to speak of. After a takeover what never arrived is counted in words."""
    halves = facts.peer_lacks_pair or facts.primary.absent or facts.secondary.absent
    return not (observed.unknown or halves or state is PairState.SSWS)


Words = tuple[Verdict, str, str | None, str | None]


def _copying(facts: Facts, now: Instant, settings: CopySettings, observed: Observed, behind: Lag | None) -> Words:
    group, percent = facts.pair.group, _copy_percent(facts)
    done = "" if percent is None else f" {int(percent)} %"
    line = f"{group} is copying{done}, not yet protected: {_direction(facts)}, lag {_lag_words(behind)}"
    held = facts.secondary.state
    if held is not None and held.safe_point.open:
        line += f"; a takeover now goes back to {clock(held.safe_point.time_ns, now)}"
    return Verdict.WARN, line, observed.cause, f"pairvol pair wait {group} --state PAIR"


def _protected(facts: Facts, now: Instant, settings: CopySettings, observed: Observed, behind: Lag | None) -> Words:
    group = facts.pair.group
    tail = f"{_direction(facts)}, lag {_lag_words(behind)}, {_restored(facts, now)}"
    found = facts.secondary.state.verify if facts.secondary.state is not None else None
    if found is not None and found.different:
        cause = f"a verify found {format_size(found.different_bytes)} different at {facts.pair.secondary.site}"
        return Verdict.CRIT, f"{group} is not whole: {tail}", cause, f"pairvol pair verify {group} --repair"
    if behind is not None and behind.seconds > settings.lag_warn_seconds:
        cause = f"{facts.pair.secondary.site} reads more slowly than {facts.pair.primary.site} writes"
        limit, held = facts.pair.policy.limit_bytes_per_second, facts.secondary.state
        if limit and held is not None and held.limit_holds_back:
            cause = f"{facts.pair.primary.site} writes more than the limit of {limit_words(limit)} lets over"
        elif facts.pair.policy.trigger.value != "notification":
            cause = f"journals are copied on {facts.pair.policy.trigger.value}"
        return Verdict.WARN, f"{group} is behind: {tail}", cause, f"pairvol journal status {group}"
    return Verdict.OK, f"{group} is protected: {tail}", None, None


def _filling(facts: Facts, now: Instant, settings: CopySettings, observed: Observed, behind: Lag | None) -> Words:
    group, state, held = facts.pair.group, facts.primary.state, facts.secondary.state
    fill = f"{int(state.fill_percent)} % full" if state else "filling"
    if state and held and state.fill_percent < settings.high_water_percent:
        fill = f"of {facts.pair.secondary.site} {int(held.fill_percent)} % full"
    if state and state.seconds_to_full is not None:
        fill += f", full in {format_duration(state.seconds_to_full)}"
    if state and state.on_full is OnFull.THROTTLE:
        fill += ", writes slow down"
    line = (
        f"{group} is protected, journal {fill}: {_direction(facts)}, lag {_lag_words(behind)}, {_restored(facts, now)}"
    )
    if held and held.drills:
        return Verdict.WARN, line, observed.cause, f"pairvol drill stop {group}"
    limited = facts.pair.policy.limit_bytes_per_second is not None and held is not None and held.limit_holds_back
    if limited and state and state.fill_percent >= settings.high_water_percent:
        return Verdict.WARN, line, observed.cause, f"pairvol pair set {group} --limit none"
    later = facts.pair.policy.restore != "at_once"
    return Verdict.WARN, line, observed.cause, f"pairvol journal {'restore' if later else 'status'} {group}"


def _stopped(facts: Facts, now: Instant, settings: CopySettings, observed: Observed, behind: Lag | None) -> Words:
    group = facts.pair.group
    line = f"{group} is not protected: {observed.cause}, changes tracked{_changed(facts)}"
    if observed.event is PairEvent.SUSPENDED:
        held, command = facts.secondary.state, f"pairvol pair resync {group}"
        if held is not None and held.split is not SplitMode.OFF:
            word = "writable" if held.split is SplitMode.WRITE else "readable"
            line += f"; {facts.pair.secondary.site} is {word}"
        if changed := overwritten(held):
            line, command = f"{line}, {format_size(changed)} changed there", f"{command} --force"
        return Verdict.WARN, line + _last(facts, now, behind), observed.cause, command
    line += _last(facts, now, behind)
    return Verdict.WARN, line, observed.cause, f"pairvol journal start {group}"  # which copies anew


def _full(facts: Facts, now: Instant, settings: CopySettings, observed: Observed, behind: Lag | None) -> Words:
    group, held = facts.pair.group, facts.secondary.state
    line = f"{group} is not protected: {observed.cause}, changes tracked{_changed(facts)}"
    if observed.unknown:
        line += f"; {_unknown_words(observed.unknown, now)}"
    line += _last(facts, now, behind)
    state = facts.primary.state
    by_itself = state is not None and automatic(facts, state)
    if by_itself and (held is None or held.split is SplitMode.OFF):
        return (
            Verdict.CRIT,
            f"{line}; resync begins by itself",
            observed.cause,
            f"pairvol pair wait {group} --state PAIR",
        )
    return Verdict.CRIT, line, observed.cause, f"pairvol pair resync {group}"


def _failed(facts: Facts, now: Instant, settings: CopySettings, observed: Observed, behind: Lag | None) -> Words:
    group, command = facts.pair.group, f"pairvol journal status {facts.pair.group}"
    if observed.unknown:
        line = f"{group} is not protected: {_unknown_words(observed.unknown, now)}"
        reached = facts.secondary.position(Pointer.ALREADY_READ).time_ns
        if observed.unknown[0].site == facts.pair.primary.site and not facts.is_primary:
            if reached:
                line += f"; {facts.site} has its journals up to {clock(reached, now)}"
            return Verdict.CRIT, line, observed.cause, f"pairvol pair takeover {group}"
        return Verdict.CRIT, line, observed.cause, "pairvol check"
    line = f"{group} is not protected: {observed.cause}{_last(facts, now, behind)}"
    return Verdict.CRIT, line, observed.cause, observed.hint or command


def _served_there(facts: Facts, now: Instant, settings: CopySettings, observed: Observed, behind: Lag | None) -> Words:
    """After a takeover: who serves, what became of the old primary, what never arrived."""
    group, old, new = facts.pair.group, facts.pair.primary.site, facts.pair.secondary.site
    line = f"{group} is taken over: {new} serves it as primary, generation {facts.generation_known}"
    delete, swap = f"pairvol pair delete {group}", f"pairvol pair resync {group} --swap"
    if observed.unknown:
        cause = _unknown_words(observed.unknown, now)
        return Verdict.WARN, f"{line}; {cause}, take it back when it answers", cause, swap
    state = facts.primary.state
    if facts.peer_lacks_pair or facts.primary.absent or state is None:
        return Verdict.WARN, f"{line}; {old} no longer has the pair", None, f"{delete} --force"
    if state.role is not Role.FENCED:
        cause = f"{old} is not fenced yet and may still take writes"
        return Verdict.CRIT, f"{line}; {cause}", cause, f"pairvol pair status {group}"
    orphans = _orphans(facts)
    if orphans.journals:
        tail = f"{counted(orphans.journals, 'journal')} ({format_size(orphans.data_bytes)})"
        cause = f"{old} is fenced and keeps {tail} that never reached {new}"
        return Verdict.CRIT, f"{line}; {cause}", cause, f"{swap} --force"
    if not state.acquisition:
        cause = f"{old} is fenced and was written while its acquisition was stopped, which never reached {new}"
        return Verdict.CRIT, f"{line}; {cause}", cause, f"{swap} --force"
    if state.dirty_bytes:
        cause = f"{old} is fenced and has {format_size(state.dirty_bytes)} of changes that never reached {new}"
        return Verdict.CRIT, f"{line}; {cause}", cause, f"{swap} --force"
    return Verdict.WARN, f"{line}; {old} is fenced, nothing was lost", f"{old} was superseded by {new}", swap


def _changed(facts: Facts) -> str:
    state = facts.primary.state
    return f" ({format_size(state.dirty_bytes)})" if state is not None and state.dirty_bytes else ""


_WORDS: Final[dict[PairState, Callable[[Facts, Instant, CopySettings, Observed, Lag | None], Words]]] = {
    PairState.COPY: _copying,
    PairState.PAIR: _protected,
    PairState.PFUL: _filling,
    PairState.PSUS: _stopped,
    PairState.PFUS: _full,
    PairState.PSUE: _failed,
    PairState.SSWS: _served_there,
}


def _orphans(facts: Facts) -> Lag:
    """What the old primary holds and the new one never read; the new one's pointers stand still since the takeover."""
    return facts.behind or Lag(0.0, 0, 0)


def _side(
    name: str,
    volumes: SiteVolumes,
    side: SideFacts,
    state: PairState,
    unknown: dict[str, Unknown],
    behind: Lag | None,
    copy_percent: float | None,
) -> PairSide:
    lost = unknown.get(volumes.site)
    known = side.state if lost is None and not side.absent else None
    return PairSide(
        side=name,
        site=volumes.site,
        volumes=volumes.volumes,
        state=state if known is not None else None,
        sequence=_sequence(known, side, name),
        journal_percent=known.fill_percent if known else None,
        journal_bytes=known.data_capacity_bytes if known else None,
        copy_percent=copy_percent if known else None,
        lag_seconds=behind.seconds if known and behind else None,
        lag_bytes=behind.total_bytes if known and behind else None,
        unknown_since_ns=lost.since_ns if lost else None,
        failure=(lost.failure if lost else None) or (known.failure if known else None),
        changed_bytes=known.dirty_bytes if known else None,
        orphan_tails=known.orphans if known else None,
    )


def _sequence(state: JournalState | None, side: SideFacts, name: str) -> int | None:
    if state is None:
        return None
    return side.position(Pointer.JOURNAL_IN if name == "P-VOL" else Pointer.ALREADY_RESTORED).sequence


def _copy_percent(facts: Facts) -> float | None:
    state = facts.secondary.state
    if state is None:
        return None
    copy, primary = state.initial_copy, facts.primary.state
    if primary is not None and copy.gap_sequence != primary.gap_sequence:
        return 0.0  # a new one is about to begin
    if primary is not None and primary.changes_final and copy.epoch != primary.epoch:
        return 0.0
    if copy.state is CopyState.DONE:
        return 100.0
    return 100.0 * copy.bytes_done / copy.bytes_total if copy.bytes_total else 0.0


def _direction(facts: Facts) -> str:
    return f"{facts.pair.primary.site} -> {facts.pair.secondary.site}"


def _lag_words(behind: Lag | None) -> str:
    return "unknown" if behind is None else f"{format_duration(behind.seconds)} ({format_size(behind.total_bytes)})"


def _last(facts: Facts, now: Instant, behind: Lag | None) -> str:
    """How far behind a secondary is that does not follow, and what it has; nothing of one that is unknown."""
    return f"; lag {_lag_words(behind)}, {_restored(facts, now)}" if behind is not None else ""


def _restored(facts: Facts, now: Instant) -> str:
    time_ns = facts.secondary.position(Pointer.ALREADY_RESTORED).time_ns
    words = f"last restored {clock(time_ns, now)}" if time_ns else "nothing written yet"
    state = facts.secondary.state
    drills = state.drills if state is not None else 0
    if not drills:
        return words
    return f"{words}, restore waits for {counted(drills, 'open drill')}"


def _unknown_words(unknown: tuple[Unknown, ...], now: Instant) -> str:
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
