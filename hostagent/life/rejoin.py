"""After the direction of a pair was decided: each side becomes what the kept pair says it is.

Pure; see `hostagent/copy_manager/manager.py`. The decision is durable at the site that is
kept before anything else happens, and heard by the other; from then on
both managers converge on it, in any order and over any crash:

| this site is, by the pair | its controller is | action |
|---|---|---|
| primary | taken over, under the pair's generation | promote |
| primary | promoted, and was cut short | promote again |
| primary | fenced; the other one is fenced by the pair's generation | promote under the pair's generation |
| secondary | taken over, under a lower generation | fence |
| secondary | fenced, or primary of a lower generation; the other site serves | demote |
"""

from __future__ import annotations

from typing import Final

from controller.api.lifecycle import DemoteOrder, PromoteOrder
from controller.api.models import FenceRequest, JournalState, Role, SuspendedCause
from controller.journal.pointers import Pointer
from hostagent.copy_manager.actions import Action, OrderDemote, OrderFence, OrderPromote
from hostagent.copy_manager.facts import Facts
from hostagent.copy_manager.pace import Pace

AGAIN_SECONDS: Final = 1.0


def promote(facts: Facts, state: JournalState, pace: Pace) -> list[Action]:
    """The order to become the pair's primary, when that is due."""
    if not facts.pair.turns or facts.taken_over:
        return []
    generation = facts.generation_known
    cut_short = (
        state.role is Role.PRIMARY and state.suspended_cause is SuspendedCause.TAKEOVER and not state.changes_final
    )
    goes_on = state.generation == generation and (state.role is Role.TAKEN_OVER or cut_short)
    if (goes_on or _kept(facts, state)) and pace.due(OrderPromote, every=AGAIN_SECONDS):
        return [OrderPromote(PromoteOrder(generation=generation, peer_site=facts.peer_site))]
    return []


def _kept(facts: Facts, state: JournalState) -> bool:
    """Whether this fenced primary is kept, and the other site serves no more: it is fenced durably, for that."""
    other = facts.peer.state
    return (
        state.role is Role.FENCED
        and state.generation < facts.pair.generation
        and other is not None
        and other.uuid == facts.pair.uuid
        and other.role is Role.FENCED
        and other.generation < facts.pair.generation
    )


def fence(facts: Facts, state: JournalState, pace: Pace) -> list[Action]:
    """The order to serve no more, when the site that this one took over from is kept."""
    if (
        not facts.pair.turns
        or state.role is not Role.TAKEN_OVER
        or state.generation >= facts.pair.generation
        or not pace.due(OrderFence, every=AGAIN_SECONDS)
    ):
        return []
    reason = f"{facts.peer_site} is kept as the primary"
    return [OrderFence(FenceRequest(generation=facts.pair.generation, reason=reason))]


def demote(facts: Facts, state: JournalState, pace: Pace) -> list[Action]:
    """The order to follow the new primary, when that is due: it begins where that one has all our journals."""
    new = facts.peer.state
    if (
        not facts.pair.turns
        or state.role not in (Role.FENCED, Role.PRIMARY)
        or state.generation >= facts.pair.generation
        or new is None
        or new.uuid != facts.pair.uuid
        or new.role not in (Role.TAKEN_OVER, Role.PRIMARY)
        or new.generation != facts.pair.generation
        or not pace.due(OrderDemote, every=AGAIN_SECONDS)
    ):
        return []
    order = DemoteOrder(
        generation=new.generation,
        base=facts.peer.position(Pointer.CONFIRMED),
        covered_sequence=new.covered_sequence,
        peer_site=facts.peer_site,
    )
    return [OrderDemote(order)]
