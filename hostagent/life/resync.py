"""The way back from tracked changes to journals: what each side's copy manager does next.

Pure; see `hostagent/copy_manager/manager.py`. The steps are found again in what both
controllers say, so nothing is remembered and a crash anywhere goes on:

| what is seen | who acts | action |
|---|---|---|
| primary suspended, the secondary has its last journal and that is freed | primary | resume |
| primary's changed regions are final | primary | ask for them, and tell them at every exchange until taken |
| regions told, not taken up yet | secondary | resync: copied behind a safe point |
| their copy is done and restored to where it is consistent | primary | clear the epoch |

A secondary's controller restores nothing past the suspension before its safe
point is open, whatever the agents do (controller/LIFECYCLE.md); and an epoch
is cleared only on the word of a secondary that is consistent.
"""

from __future__ import annotations

from typing import Final

from controller.api.lifecycle import EpochOrder, ResyncOrder
from controller.api.models import (
    AcquisitionMode,
    CopySource,
    CopyState,
    JournalState,
    SplitMode,
    SuspendedCause,
)
from controller.journal.pointers import Pointer
from hostagent.copy_manager.actions import Action, OrderClearEpoch, OrderResume, OrderResync, QueryRegions
from hostagent.copy_manager.facts import Facts
from hostagent.copy_manager.pace import Pace

REORDER_SECONDS: Final = 0.5
REPEAT_SECONDS: Final = 5.0  # while the copy runs, in case the primary is read at other addresses by now


def of_primary(facts: Facts, state: JournalState, confirmed: int | None, pace: Pace, *, wanted: bool) -> list[Action]:
    """What a primary with changed regions does now; `wanted`: a person ordered the resync."""
    peer = facts.peer.state
    if state.epoch is None or peer is None or confirmed is None or facts.contact_failure is not None:
        return []
    if not state.changes_final:
        free = facts.own.position(Pointer.CONFIRMED).sequence
        newest = facts.own.position(Pointer.JOURNAL_IN).sequence
        if (
            (wanted or automatic(facts, state))
            and state.mode is AcquisitionMode.SUSPENDED
            and peer.split is SplitMode.OFF
            and min(confirmed, free) >= newest
            and pace.due(OrderResume, every=REORDER_SECONDS)
        ):
            return [OrderResume()]
        return []
    if facts.regions is None or facts.regions.epoch != state.epoch:
        return [QueryRegions()] if pace.due(QueryRegions, every=REORDER_SECONDS) else []
    if copied_epoch(peer, state.epoch) and pace.due(OrderClearEpoch, every=REORDER_SECONDS):
        return [OrderClearEpoch(EpochOrder(epoch=state.epoch))]
    return []


def automatic(facts: Facts, state: JournalState) -> bool:
    """Whether a resync begins without a person: a journal that was full, and the pair's policy says so.

    The policy is about bringing a copy back in step. The first copy of a pair
    was ordered when the pair was created, so it begins in any case.
    """
    if state.suspended_cause is not SuspendedCause.FULL:
        return False
    peer = facts.secondary.state
    never = peer is not None and peer.initial_copy.state is CopyState.NONE and peer.epoch is None
    return never or facts.pair.policy.resync == "auto"


def copied_epoch(secondary: JournalState, epoch: str) -> bool:
    """Whether a secondary has everything of these changed regions and is consistent."""
    copy, consistent = secondary.initial_copy, secondary.consistent_sequence
    restored = secondary.pointers.get(Pointer.ALREADY_RESTORED.value)
    return (
        copy.epoch == epoch
        and copy.state is CopyState.DONE
        and not copy.pending
        and consistent is not None
        and restored is not None
        and restored.sequence >= consistent
    )


def needs_regions(facts: Facts, state: JournalState) -> bool:
    """Whether a secondary comes into step by changed regions, and not by a copy of whole volumes.

    One that was a primary has an own map in place of an earlier copy; one that
    never was copied needs everything.
    """
    primary = facts.peer.state
    if primary is None or primary.epoch is None or not primary.changes_final:
        return False
    copy = state.initial_copy
    return copy.gap_sequence == primary.gap_sequence and (copy.state is not CopyState.NONE or state.epoch is not None)


def restore_goal(facts: Facts, state: JournalState) -> int | None:
    """Up to where a secondary restores although its policy is to wait: there a resync ends."""
    primary, copy = facts.peer.state, state.initial_copy
    if copy.run is not None:  # it is the restoring that copies, and the volumes are no state of the primary yet
        return facts.own.position(Pointer.ALREADY_READ).sequence
    if primary is None or primary.epoch is None or copy.epoch != primary.epoch or copy.state is not CopyState.DONE:
        return None
    return state.consistent_sequence if facts.pair.policy.restore == "later" else None


def of_secondary(
    facts: Facts, state: JournalState, source: CopySource, pace: Pace, *, lasting: bool, wanted: bool
) -> list[Action]:
    """Take up the primary's changed regions; `lasting`: the copy failed in a way that only a person ends."""
    primary, copy, told = facts.peer.state, state.initial_copy, facts.regions
    if primary is None or told is None or told.epoch != primary.epoch or state.split is not SplitMode.OFF:
        return []
    taken = copy.epoch == told.epoch
    if taken and (copy.state is CopyState.DONE or (copy.state is CopyState.FAILED and lasting and not wanted)):
        return []
    limit = facts.pair.policy.limit_bytes_per_second
    runs = taken and copy.state is CopyState.RUNNING and state.limit_bytes_per_second == limit
    if not pace.due(OrderResync, every=REPEAT_SECONDS if runs else REORDER_SECONDS):
        return []
    order = ResyncOrder(source=source, regions=told, gap_sequence=primary.gap_sequence, limit_bytes_per_second=limit)
    return [OrderResync(order)]
