"""After the direction of a pair was turned: each side becomes what the kept pair says it is.

Pure; see `hostagent/copy_manager/manager.py`. The turned pair is durable at the site that
took over before anything else happens, and heard by the other; from then on
both managers converge on it, in any order and over any crash:

| this site is, by the pair | its controller is | action |
|---|---|---|
| primary | taken over, under the pair's generation | promote |
| primary | promoted, and was cut short | promote again |
| secondary | fenced, or primary of a lower generation; the other site serves | demote |
"""

from __future__ import annotations

from typing import Final

from controller.api.lifecycle import DemoteOrder, PromoteOrder
from controller.api.models import JournalState, Role, SuspendedCause
from controller.journal.pointers import Pointer
from hostagent.copy_manager.actions import Action, OrderDemote, OrderPromote
from hostagent.copy_manager.facts import Facts
from hostagent.copy_manager.pace import Pace

AGAIN_SECONDS: Final = 1.0


def promote(facts: Facts, state: JournalState, pace: Pace) -> list[Action]:
    """The order to become the pair's primary, when that is due."""
    if not facts.pair.turns or facts.taken_over or state.generation != facts.generation_known:
        return []
    cut_short = (
        state.role is Role.PRIMARY and state.suspended_cause is SuspendedCause.TAKEOVER and not state.changes_final
    )
    if (state.role is Role.TAKEN_OVER or cut_short) and pace.due(OrderPromote, every=AGAIN_SECONDS):
        return [OrderPromote(PromoteOrder(generation=state.generation, peer_site=facts.peer_site))]
    return []


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
