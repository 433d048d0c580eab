"""The answer to "am I protected right now?": verdict, line, cause, next command, one row for each side.

Owns the first line of every state. Pure: what is so is decided by
`copy_manager/observe.py`, what may be said of it by `known.py`. Of a side that
does not answer nothing is said but since when, and what the other side knows of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from controller.api.models import JournalState, OnFull, Role, SplitMode
from controller.journal.pointers import Pointer
from controller.units import counted, format_duration, format_size
from hostagent.api.models import PairSide, PairState, PairStatus, SiteVolumes, Verdict
from hostagent.config import CopySettings
from hostagent.copy_manager.facts import Facts
from hostagent.copy_manager.lag import Lag
from hostagent.copy_manager.observe import Observed, Unknown, observe
from hostagent.copy_manager.side import Instant, SideFacts
from hostagent.hosts.spoken_for import spoken_for
from hostagent.known import answering, bytes_to_copy, copy_percent, lag, seconds_to_full
from hostagent.life.alone import Alone, takeover_alone
from hostagent.life.missing import overwritten
from hostagent.life.resync import automatic
from hostagent.life.served import takeover_command
from hostagent.limit import limit_words
from hostagent.pairs import PairEvent, next_state
from hostagent.status_words import (
    changed,
    clock,
    confirmed,
    direction,
    fill,
    lag_words,
    last,
    restored,
    unknown_words,
    without_secondary,
)


def pair_status(facts: Facts, now: Instant, settings: CopySettings) -> PairStatus:
    """Everything a person or a monitoring system wants to know about one pair."""
    observed = observe(facts, now, settings)
    state = next_state(PairState.SMPL, observed.event, facts.pair.group)
    alone = takeover_alone(facts)
    facts = answering(facts, observed.unknown)
    behind = lag(facts, observed, state)
    if observed.unknown and observed.event is PairEvent.FAILED:
        verdict, line, cause, command = _silent(facts, now, observed, alone)
    else:
        verdict, line, cause, command = _WORDS[state](facts, now, settings, observed, behind)
    unknown, held = {side.site: side for side in observed.unknown}, facts.secondary.state
    status = PairStatus(
        group=facts.pair.group,
        verdict=verdict,
        state=state,
        number=state.number,
        line=line,
        cause=cause,
        next_command=command,
        lag_seconds=behind.known_seconds if behind else None,
        lag_seconds_min=behind.seconds if behind else None,
        lag_bytes=behind.total_bytes if behind else None,
        last_restored_ns=facts.secondary.position(Pointer.ALREADY_RESTORED).time_ns or None,
        last_contact_ns=facts.contact.wall_ns if facts.contact else None,
        generation=facts.generation_known,
        limit_bytes_per_second=facts.pair.policy.limit_bytes_per_second,
        compression=facts.pair.policy.compression,
        compression_now=held.compression if held else None,
        transfer_bytes=held.transfer_bytes if held else None,
        wire_bytes=held.wire_bytes if held else None,
        seconds_to_full=seconds_to_full(facts),
        sides=[
            _side("P-VOL", facts.pair.primary, facts.primary, state, unknown, None, None),
            _side("S-VOL", facts.pair.secondary, facts.secondary, state, unknown, behind, copy_percent(facts)),
        ],
    )
    return spoken_for(status, facts, observed.unknown)


Words = tuple[Verdict, str, str | None, str | None]


def _copying(facts: Facts, now: Instant, settings: CopySettings, observed: Observed, behind: Lag | None) -> Words:
    group, percent = facts.pair.group, copy_percent(facts)
    done = "" if percent is None else f" {int(percent)} %"
    line = f"{group} is copying{done}, not yet protected: {direction(facts)}"
    if behind is not None:
        line += f", lag {lag_words(behind)}"
    elif rest := bytes_to_copy(facts):
        line += f", {format_size(rest)} to copy"
    held = facts.secondary.state
    if held is not None and held.safe_point.open:
        line += f"; a takeover now goes back to {clock(held.safe_point.time_ns, now)}"
    if held is not None and held.drills:  # waiting would have no end
        cause = f"the copy waits for {counted(held.drills, 'open drill')}"
        return Verdict.WARN, f"{line}; {cause}", cause, f"pairvol drill stop {group}"
    return Verdict.WARN, line, observed.cause, f"pairvol pair wait {group} --state PAIR"


def _protected(facts: Facts, now: Instant, settings: CopySettings, observed: Observed, behind: Lag | None) -> Words:
    group = facts.pair.group
    tail = f"{direction(facts)}, lag {lag_words(behind)}, {restored(facts, now)}"
    if (different := _different(facts)) is not None:
        return Verdict.CRIT, f"{group} is not whole: {tail}", different, f"pairvol pair verify {group} --repair"
    if behind is not None and behind.seconds > settings.lag_warn_seconds:
        cause = f"{facts.pair.secondary.site} reads more slowly than {facts.pair.primary.site} writes"
        limit, held = facts.pair.policy.limit_bytes_per_second, facts.secondary.state
        if limit and held is not None and held.limit_holds_back:
            cause = f"{facts.pair.primary.site} writes more than the limit of {limit_words(limit)} lets over"
        elif facts.pair.policy.trigger.value != "notification":
            cause = f"journals are copied on {facts.pair.policy.trigger.value}"
        return Verdict.WARN, f"{group} is behind: {tail}", cause, f"pairvol journal status {group}"
    if behind is not None and behind.lower_bound:
        cause = f"the clock of {facts.pair.primary.site} was set back, so since when journals are missing is not known"
        return Verdict.WARN, f"{group} is behind: {tail}", cause, f"pairvol journal status {group}"
    return Verdict.OK, f"{group} is protected: {tail}", None, None


def _different(facts: Facts) -> str | None:
    """What a verify is known to have found, in words: such a copy is no protection, whatever arrives."""
    found = facts.secondary.state.verify if facts.secondary.state is not None else None
    if found is None or not found.different:
        return None
    return f"a verify found {format_size(found.different_bytes)} different at {facts.pair.secondary.site}"


def _filling(facts: Facts, now: Instant, settings: CopySettings, observed: Observed, behind: Lag | None) -> Words:
    group, state, held = facts.pair.group, facts.primary.state, facts.secondary.state
    full = f"{int(state.fill_percent)} % full" if state else "filling"
    if state and held and state.fill_percent < settings.high_water_percent:
        full = f"of {facts.pair.secondary.site} {int(held.fill_percent)} % full"
    if (seconds := seconds_to_full(facts)) is not None:
        full += f", full in {format_duration(seconds)}"
    if state and state.on_full is OnFull.THROTTLE:
        full += ", writes slow down"
    tail = f"journal {full}: {direction(facts)}, lag {lag_words(behind)}, {restored(facts, now)}"
    if (different := _different(facts)) is not None:
        return Verdict.CRIT, f"{group} is not whole, {tail}", different, f"pairvol pair verify {group} --repair"
    line = f"{group} is protected, {tail}"
    if held and held.drills:
        return Verdict.WARN, line, observed.cause, f"pairvol drill stop {group}"
    limited = facts.pair.policy.limit_bytes_per_second is not None and held is not None and held.limit_holds_back
    if limited and state and state.fill_percent >= settings.high_water_percent:
        return Verdict.WARN, line, observed.cause, f"pairvol pair set {group} --limit none"
    later = facts.pair.policy.restore != "at_once"
    return Verdict.WARN, line, observed.cause, f"pairvol journal {'restore' if later else 'status'} {group}"


def _suspended(facts: Facts, now: Instant, settings: CopySettings, observed: Observed, behind: Lag | None) -> Words:
    """By order: split, or with acquisition stopped, which nobody's map of changes makes good."""
    group = facts.pair.group
    if observed.event is PairEvent.STOPPED:
        line = f"{group} is not protected: {observed.cause}, changes are not tracked{last(facts, now, behind)}"
        return Verdict.CRIT, f"{line}; starting it copies everything", observed.cause, f"pairvol journal start {group}"
    line = f"{group} is not protected: {observed.cause}, changes tracked{changed(facts)}"
    held, command = facts.secondary.state, f"pairvol pair resync {group}"
    if held is not None and held.split is not SplitMode.OFF:
        word = "writable" if held.split is SplitMode.WRITE else "readable"
        line += f"; {facts.pair.secondary.site} is {word}"
    if there := overwritten(held):
        line, command = f"{line}, {format_size(there)} changed there", f"{command} --force"
    return Verdict.WARN, line + last(facts, now, behind), observed.cause, command


def _full(facts: Facts, now: Instant, settings: CopySettings, observed: Observed, behind: Lag | None) -> Words:
    group, held, state = facts.pair.group, facts.secondary.state, facts.primary.state
    line = f"{group} is not protected: {observed.cause}, changes tracked{changed(facts)}"
    if observed.unknown:
        line += f"; {unknown_words(observed.unknown, now)}"
        line += f"; {words}" if (words := confirmed(facts, now)) else ""
    line += last(facts, now, behind)
    by_itself = state is not None and automatic(facts, state)
    if by_itself and (held is None or held.split is SplitMode.OFF):
        line, command = f"{line}; resync begins by itself", f"pairvol pair wait {group} --state PAIR"
    else:
        command = "pairvol check" if observed.unknown else f"pairvol pair resync {group}"
    return Verdict.CRIT, line, observed.cause, command


def _failed(facts: Facts, now: Instant, settings: CopySettings, observed: Observed, behind: Lag | None) -> Words:
    group = facts.pair.group
    line = f"{group} is not protected: {observed.cause}{last(facts, now, behind)}"
    line += f"; {words}" if (words := fill(facts)) else ""
    return Verdict.CRIT, line, observed.cause, observed.hint or f"pairvol journal status {group}"


def _silent(facts: Facts, now: Instant, observed: Observed, alone: Alone) -> Words:
    """A side does not answer: since when, what the other one has, and what can be done without it."""
    group, first = facts.pair.group, observed.unknown[0]
    line = f"{group} is not protected: {unknown_words(observed.unknown, now)}{without_secondary(facts, now)}"
    if first.site != facts.pair.primary.site or facts.is_primary:
        return Verdict.CRIT, line, observed.cause, "pairvol check"
    if reached := facts.secondary.position(Pointer.ALREADY_READ).time_ns:
        line += f"; {facts.site} has its journals up to {clock(reached, now)}"
    if alone is Alone.REFUSED:
        return Verdict.CRIT, f"{line}; {facts.site} has no whole copy to take over", observed.cause, "pairvol check"
    if first.agent_answers:  # hosts may be writing there: a takeover wants its controller, or force
        return Verdict.CRIT, line, observed.cause, "pairvol check"
    if alone is Alone.FORCE_BACK and (held := facts.secondary.state) is not None:
        line += f"; a takeover goes back to {clock(held.safe_point.time_ns, now)}"
    force = "" if alone is Alone.NOTHING else " --force"
    return Verdict.CRIT, line, observed.cause, f"{takeover_command(facts.pair, now.wall_ns)}{force}"


def _served_there(facts: Facts, now: Instant, settings: CopySettings, observed: Observed, behind: Lag | None) -> Words:
    """After a takeover: who serves, what became of the old primary, what never arrived."""
    group, old, new = facts.pair.group, facts.pair.primary.site, facts.pair.secondary.site
    line = f"{group} is taken over: {new} serves it as primary, generation {facts.generation_known}"
    delete, swap = f"pairvol pair delete {group}", f"pairvol pair resync {group} --swap"
    if observed.unknown:
        cause = unknown_words(observed.unknown, now)
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


_WORDS: Final[dict[PairState, Callable[[Facts, Instant, CopySettings, Observed, Lag | None], Words]]] = {
    PairState.COPY: _copying,
    PairState.PAIR: _protected,
    PairState.PFUL: _filling,
    PairState.PSUS: _suspended,
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
    percent: float | None,
) -> PairSide:
    lost, known = unknown.get(volumes.site), side.state
    return PairSide(
        side=name,
        site=volumes.site,
        volumes=volumes.volumes,
        state=state if known is not None else None,
        sequence=_sequence(known, side, name),
        journal_percent=known.fill_percent if known else None,
        journal_bytes=known.data_capacity_bytes if known else None,
        copy_percent=percent if known else None,
        lag_seconds=behind.known_seconds if known and behind else None,
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
