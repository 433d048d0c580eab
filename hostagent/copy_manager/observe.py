"""From facts to what they mean: who is unknown, how far behind, which state.

Pure functions; they own the rules by which facts are judged and nothing else.
A side that does not answer is unknown: nothing below uses its last known
state except to say since when, and that a takeover happened (which cannot be
undone).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from controller.api.models import (
    AcquisitionMode,
    CopyState,
    Failure,
    JournalState,
    Role,
    SplitMode,
    SuspendedCause,
)
from controller.journal.pointers import Pointer
from hostagent.config import CopySettings
from hostagent.copy_manager.facts import Facts
from hostagent.copy_manager.faults import fault_of
from hostagent.copy_manager.side import Instant
from hostagent.limit import limit_words
from hostagent.pairs import PairEvent


@dataclass(frozen=True, slots=True)
class Unknown:
    """A side that does not answer."""

    site: str
    since_ns: int
    failure: Failure | None
    agent_answers: bool


@dataclass(frozen=True, slots=True)
class Observed:
    """What the facts say: the event, its cause in words, and what to type next."""

    event: PairEvent
    cause: str | None = None
    hint: str | None = None
    unknown: tuple[Unknown, ...] = ()


def unknown_sides(facts: Facts, now: Instant, settings: CopySettings) -> tuple[Unknown, ...]:
    """The sides whose controller cannot be spoken for now: own site first."""
    found = []
    own = facts.own
    if not own.absent and (own.failure is not None or own.heard is None):
        found.append(Unknown(facts.site, _since(own.heard, facts), own.failure, True))
    if peer_silent(facts, now, settings):
        # Before its agent fell silent it may have told, again and again, that its controller is.
        told = facts.peer.failure is not None and not facts.peer.absent
        heard = facts.peer.heard if told else facts.contact
        found.append(Unknown(facts.peer_site, _since(heard, facts), facts.contact_failure, False))
    elif not facts.peer_lacks_pair and not facts.peer.absent and (facts.peer.failure or facts.peer.heard is None):
        found.append(Unknown(facts.peer_site, _since(facts.peer.heard, facts), facts.peer.failure, True))
    return tuple(found)


def peer_silent(facts: Facts, now: Instant, settings: CopySettings) -> bool:
    """Whether the other agent cannot be heard: a request failed, or nothing came for too long."""
    if facts.contact is None or facts.contact_failure is not None:
        return True
    return now.seconds - facts.contact.seconds > settings.unknown_after_seconds


def unknown_since(facts: Facts, site: str, now: Instant, settings: CopySettings) -> int:
    """Since when nothing is known of a side that did not answer just now, also before status calls it unknown."""
    for side in unknown_sides(facts, now, settings):
        if side.site == site:
            return side.since_ns
    return _since((facts.own if site == facts.site else facts.peer).heard, facts)


def _since(heard: Instant | None, facts: Facts) -> int:
    return (heard or facts.started).wall_ns


def copied(facts: Facts) -> bool:
    """Whether the secondary is a usable copy: the initial copy is done and what was written meanwhile is in place."""
    state = facts.secondary.state
    if state is None or state.initial_copy.state is not CopyState.DONE or state.consistent_sequence is None:
        return False
    if facts.primary.state is not None and facts.primary.state.gap_sequence != state.initial_copy.gap_sequence:
        return False  # acquisition was off after that copy began
    # With restore at once the volumes must be there; else the journal must hold what a takeover restores.
    needed = Pointer.ALREADY_RESTORED if facts.pair.policy.restore == "at_once" else Pointer.ALREADY_READ
    return facts.secondary.position(needed).sequence >= state.consistent_sequence


def observe(facts: Facts, now: Instant, settings: CopySettings) -> Observed:
    """The most severe thing that the facts say."""
    unknown = unknown_sides(facts, now, settings)
    if facts.taken_over:
        return Observed(PairEvent.TAKEN_OVER, unknown=unknown)
    suspended = _suspended(facts, unknown)
    if suspended is not None:
        return suspended
    if unknown:
        first = unknown[0]
        return Observed(
            PairEvent.FAILED,
            first.failure.message if first.failure else f"{first.site} has not been heard",
            first.failure.hint if first.failure else None,
            unknown,
        )
    if _turning(facts):
        return Observed(PairEvent.COPYING, f"{facts.pair.secondary.site} is being made the secondary")
    if _taking_back(facts):
        return Observed(PairEvent.COPYING, f"{facts.pair.primary.site} is being made the primary again")
    fault = fault_of(facts, now, settings)
    if fault is not None:
        return Observed(PairEvent.FAILED, *fault)
    state = facts.primary.state
    assert state is not None  # else it would be unknown
    return _healthy(facts, state, settings)


def two_primaries(facts: Facts) -> str | None:
    """In words, that the old primary was seen to serve on beside the new one; None when it was not."""
    if not facts.taken_over or facts.divided_generation < facts.generation_known:
        return None
    old, new = facts.pair.primary.site, facts.pair.secondary.site
    return (
        f"{facts.pair.group} has two primaries: {old} served it on after {new} took over as generation "
        f"{facts.divided_generation}; {old} is fenced, and nothing of either is merged or dropped"
    )


def _turning(facts: Facts) -> bool:
    """Whether the direction was reversed and a side has not become what the pair says yet."""
    primary, secondary = facts.primary.state, facts.secondary.state
    if not facts.pair.turns or primary is None or secondary is None:
        return False
    if facts.primary.absent or facts.secondary.absent or facts.peer_lacks_pair:
        return False
    generation = facts.pair.generation
    serves = primary.role in (Role.PRIMARY, Role.TAKEN_OVER) and primary.generation == generation
    follows = secondary.role is Role.SECONDARY and secondary.generation == generation
    leaves = secondary.role is Role.FENCED and secondary.generation < generation
    return serves and (leaves or (follows and primary.role is Role.TAKEN_OVER))


def _taking_back(facts: Facts) -> bool:
    """Whether the old primary is kept after a takeover, and is not promoted yet."""
    primary, secondary, generation = facts.primary.state, facts.secondary.state, facts.pair.generation
    if not facts.pair.turns or primary is None or secondary is None:
        return False
    if facts.primary.absent or facts.secondary.absent or facts.peer_lacks_pair:
        return False
    behind = primary.generation < generation and secondary.generation < generation
    return behind and primary.role is Role.FENCED and secondary.role in (Role.TAKEN_OVER, Role.FENCED)


def _healthy(facts: Facts, state: JournalState, settings: CopySettings) -> Observed:
    """The state of a pair whose sides both answer and neither has failed."""
    primary, secondary = facts.pair.primary.site, facts.pair.secondary.site
    if state.mode is not AcquisitionMode.JOURNAL:
        return Observed(PairEvent.STOPPED, f"acquisition at {primary} is stopped")
    held = facts.secondary.state
    if held is not None and held.split is not SplitMode.OFF:
        return Observed(PairEvent.SUSPENDED, f"hosts use the volumes of {secondary}")
    if state.epoch is not None:
        return Observed(PairEvent.COPYING, f"regions that changed without journals are copied to {secondary}")
    if not copied(facts):
        return Observed(PairEvent.COPYING, "the initial copy is not done")
    limit = facts.pair.policy.limit_bytes_per_second
    if state.fill_percent >= settings.high_water_percent and limit and held is not None and held.limit_holds_back:
        return Observed(PairEvent.FILLING, f"{primary} writes more than the limit of {limit_words(limit)} lets over")
    if state.fill_percent >= settings.high_water_percent:
        return Observed(
            PairEvent.FILLING,
            f"{secondary} reads more slowly than {primary} writes",
            f'See "pairvol journal status {facts.pair.group}".',
        )
    if held is not None and held.fill_percent >= settings.high_water_percent:
        return Observed(PairEvent.FILLING, f"{secondary} restores more slowly than {primary} writes")
    return Observed(PairEvent.PROTECTED)


def _suspended(facts: Facts, unknown: tuple[Unknown, ...]) -> Observed | None:
    """A primary that gave up journaling by itself is told also while the secondary, most likely its cause, is unknown.

    What was ordered is not: a side that died since is an error of the pair.
    """
    site, state = facts.pair.primary.site, facts.primary.state
    if state is None or any(side.site == site for side in unknown) or facts.primary.absent:
        return None
    if state.role is Role.PRIMARY and state.acquisition and state.mode is AcquisitionMode.SUSPENDED:
        event, cause = _SUSPENDED.get(state.suspended_cause, _SUSPENDED[SuspendedCause.FULL])
        if unknown and event not in (PairEvent.FULL, PairEvent.FAILED):
            return None
        hint = f'Mend that disk, then "pairvol pair resync {facts.pair.group}".' if event is PairEvent.FAILED else None
        words = cause.format(site=site)
        if not unknown and facts.secondary.state is not None and facts.secondary.state.failure is not None:
            words += f", and {facts.pair.secondary.site}: {facts.secondary.state.failure.message}"
        return Observed(event, words, hint, unknown=unknown)
    return None


_SUSPENDED: Final[dict[SuspendedCause | None, tuple[PairEvent, str]]] = {
    SuspendedCause.FULL: (PairEvent.FULL, "the journal of {site} was full"),
    SuspendedCause.ERROR: (PairEvent.FAILED, "the disk of the journal of {site} refused"),
    SuspendedCause.OPERATOR: (PairEvent.SUSPENDED, "it was split by an operator"),
    SuspendedCause.TAKEOVER: (PairEvent.COPYING, "{site} is being made the primary"),
}
