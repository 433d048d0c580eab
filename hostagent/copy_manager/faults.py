"""What is wrong with a pair although both sides answer: its cause in words, and what to type next.

Pure: the facts are judged and nothing else.
"""

from __future__ import annotations

from typing import Final

from controller.api.models import AcquisitionMode, CopyState, JournalState, Role, ServerState
from controller.api.runs import RunKind
from hostagent.config import CopySettings
from hostagent.copy_manager.actions import OrderCompression
from hostagent.copy_manager.facts import DISK_ERRORS, Facts
from hostagent.copy_manager.lag import NANOSECONDS
from hostagent.copy_manager.side import Instant, SideFacts

TAKEOVER_SECONDS: Final = 3.0  # a planned takeover that goes on stops writes for less, most often


def fault_of(facts: Facts, now: Instant, settings: CopySettings) -> tuple[str, str | None] | None:
    """What is wrong although both sides answer: (cause, hint)."""
    group = facts.pair.group
    delete = f'"pairvol pair delete {group} --force"'
    again = f'Give "pairvol pair create" again to finish it, or {delete}.'
    held = facts.secondary.state
    if not facts.is_primary and held is not None and held.initial_copy.state is not CopyState.NONE:
        again = f"End the side of {facts.site} too: {delete}."  # what it copied is of volumes that go their own way
    if facts.peer_lacks_pair:
        return f"{facts.peer_site} knows no pair {group}", again
    for site, side, role in (
        (facts.pair.primary.site, facts.primary, Role.PRIMARY),
        (facts.pair.secondary.site, facts.secondary, Role.SECONDARY),
    ):
        if side.absent:
            return f"{site} has no journal group {group}", again
        fault = _side_fault(facts, now, site, side, role)
        if fault is not None:
            return fault
    return _link_fault(facts, now, settings)


def _side_fault(facts: Facts, now: Instant, site: str, side: SideFacts, role: Role) -> tuple[str, str | None] | None:
    state = side.state
    assert state is not None
    group = facts.pair.group
    if state.uuid != facts.pair.uuid:
        return f"{site} has another journal group named {group}", "Delete it there, then give the command again."
    if state.role is Role.FENCED:
        return (
            f"{site} is fenced: a takeover was begun and not ended",
            f'End it with "pairvol pair takeover {group}".',
        )
    if side.quiesced is not None and now.seconds - side.quiesced.seconds >= TAKEOVER_SECONDS:
        return (
            f"{site} refuses writes for a planned takeover that was not ended",
            f'End it with "pairvol pair takeover {group}", or go on as before with "pairvol journal start {group}".',
        )
    if state.awaits_serve:
        return (
            f"{site} was away and waits for word of the other site before it serves hosts",
            f'It goes on by itself; "pairvol journal start {group}" does not wait.',
        )
    if state.role is not role:
        return f"{site} is {state.role} of {group}, not {role}", None
    if state.failure is not None:
        hint = state.failure.hint or None
        if role is Role.SECONDARY and state.failure.error in DISK_ERRORS:
            orders = f'"pairvol journal copy {group}" and "pairvol journal restore {group}"'
            hint = f"Mend that disk, then {orders}; the journals are kept."
        return f"{site}: {state.failure.message}", hint
    if state.mode is AcquisitionMode.FAILED:
        return f"{site}: a disk of {group} refused", "Look at the log of its controller."
    if state.initial_copy.state is CopyState.FAILED:
        reason = state.initial_copy.failure
        return f"the initial copy failed: {reason.message if reason else 'no reason given'}", (
            (reason.hint or None) if reason else None
        )
    if state.run is not None and state.run.kind is RunKind.BASE and state.run.failure is not None:
        return f"{site}: volumes are not brought into the journal: {state.run.failure.message}", state.run.failure.hint
    if ServerState.FAILED in (state.volume_server, state.journal_server):
        which = "volume" if state.volume_server is ServerState.FAILED else "journal"
        return f"the {which} server of {group} at {site} does not run", "Look at the log of its controller."
    return None


def _link_fault(facts: Facts, now: Instant, settings: CopySettings) -> tuple[str, str | None] | None:
    primary, secondary = facts.pair.primary.site, facts.pair.secondary.site
    state = facts.secondary.state
    assert state is not None
    if state.link_ok is False and _link_silent_seconds(state) > settings.unknown_after_seconds:
        return f"{secondary} cannot read the journal of {primary}", "Look at the data link between the sites."
    for kind, failure in facts.refusals.items():
        if kind != OrderCompression.__name__:  # what is not compressed arrives all the same
            return failure.message, failure.hint or None
    if facts.peer_refusal is not None:
        return f"{facts.peer_site}: {facts.peer_refusal.message}", facts.peer_refusal.hint or None
    return None


def _link_silent_seconds(state: JournalState) -> float:
    """How long the secondary has read nothing over the data link."""
    if state.link_silent_seconds is not None:
        return state.link_silent_seconds
    return (state.time_ns - state.link_contact_ns) / NANOSECONDS
