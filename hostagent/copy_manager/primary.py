"""The primary's part of the copy manager: look, tell, purge what was confirmed, and yield when superseded.

Pure; see `manager.py`. Must not know how the secondary copies or restores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from controller.api.lifecycle import ServeOrder
from controller.api.models import ChangedRegions, CopyState, FenceRequest, JournalState, PurgeRequest, Role
from controller.journal.pointers import Pointer
from hostagent import compression
from hostagent.api.models import Exchange
from hostagent.config import CopySettings
from hostagent.copy_manager.actions import (
    Action,
    ExchangeWithPeer,
    OrderFence,
    OrderPurge,
    OrderServe,
    QueryGroup,
    QueryState,
)
from hostagent.copy_manager.facts import Facts
from hostagent.copy_manager.pace import Pace
from hostagent.copy_manager.side import Instant
from hostagent.life import inband, rejoin, resync

GROUP_SECONDS: Final = 30.0  # the addresses of a group change only when its servers are set up anew
FENCE_SECONDS: Final = 1.0
SERVE_SECONDS: Final = 1.0
WORD_SECONDS: Final = 20.0  # a controller that began anew has forgotten what was confirmed
FILL_STEP_PERCENT: Final = 20.0  # look again before the journal has gained this much
COPYING_SHARE: Final = 0.25  # of a beat, while the initial copy runs
FAST_FILL_PERCENT: Final = 50.0  # and as fast as allowed above this


@dataclass(slots=True)
class PrimaryRole:
    settings: CopySettings
    pace: Pace
    told: Instant | None = None  # when the other agent was last told, or that was tried
    _durable_told: int = -1  # the last durable journal then
    resync_ordered: bool = False  # a person ordered the end of a suspension

    def step(self, now: Instant, facts: Facts) -> list[Action]:
        """A beat is a look at the own controller, then an exchange with what was seen; purge follows the answer."""
        actions: list[Action] = []
        looked = facts.asked is not None and (self.told is None or facts.asked > self.told)
        if looked and self.pace.due(ExchangeWithPeer):
            actions.append(self._tell(now, facts))
        elif not looked and self.pace.reached(self._next_look(facts)) and self.pace.due(QueryState):
            actions.append(self._look(facts))
        state = facts.own.state
        if state is None or facts.own.failure is not None or state.uuid != facts.pair.uuid:
            return actions
        if self.pace.due(QueryGroup, every=GROUP_SECONDS if _knows_journal(facts, state) else 1.0):
            actions.append(QueryGroup())
        actions += rejoin.promote(facts, state, self.pace)
        if state.role is not Role.PRIMARY:
            return actions
        if superseded(facts, state):
            if self.pace.due(OrderFence, every=FENCE_SECONDS):
                reason = f"{facts.peer_site} has taken over"
                actions.append(OrderFence(FenceRequest(generation=facts.generation_known, reason=reason)))
        else:
            actions += self._serve(now, facts, state)
            actions += self._purge(facts, state)
            actions += self._resync(facts, state)
            actions += compression.of_primary(facts, state, self.pace)
            actions += inband.of_primary(facts, state, self.pace)
        return actions

    def _resync(self, facts: Facts, state: JournalState) -> list[Action]:
        if state.changes_final or state.epoch is None:
            self.resync_ordered = False
        return resync.of_primary(facts, state, confirmed_sequence(facts), self.pace, wanted=self.resync_ordered)

    def _serve(self, now: Instant, facts: Facts, state: JournalState) -> list[Action]:
        """A primary that was away serves again when the other site has just answered that it is its secondary.

        One that refuses writes for a takeover is read only: that may be under way.
        """
        answered = facts.answered
        fresh = answered is not None and now.seconds - answered.seconds < self.settings.beat_seconds
        if (
            state.awaits_serve
            and fresh
            and confirmed_sequence(facts) is not None
            and self.pace.due(OrderServe, every=SERVE_SECONDS)
        ):
            return [OrderServe(ServeOrder(generation=state.generation, on=not state.quiesced))]
        return []

    def _tell(self, now: Instant, facts: Facts) -> ExchangeWithPeer:
        self.told = now
        self._durable_told = facts.own.position(Pointer.DURABLE).sequence
        return ExchangeWithPeer(message(facts))

    def _look(self, facts: Facts) -> QueryState:
        """An idle primary waits at its controller for the next durable journal; a busy one only looks."""
        if self._busy(facts) or facts.own.state is None:
            return QueryState()
        return QueryState(facts.own.position(Pointer.DURABLE).sequence, self.settings.idle_beat_seconds)

    def _busy(self, facts: Facts) -> bool:
        """Whether journals are on their way, or one of the two others cannot be heard."""
        if facts.contact_failure is not None or facts.own.failure is not None:
            return True
        if _copying(facts):
            return True
        if _superseded_for_good(facts):
            return False  # its tail goes nowhere until a person says so, and that is told at once
        durable = facts.own.position(Pointer.DURABLE).sequence
        return durable > self._durable_told or facts.peer.position(Pointer.ALREADY_READ).sequence < durable

    def _next_look(self, facts: Facts) -> float:
        if self.told is None:
            return 0.0
        if not self._busy(facts):
            return self.told.seconds  # the look itself waits
        gap = self.settings.beat_seconds
        if _copying(facts):
            gap *= COPYING_SHARE
        if facts.contact_failure is None and facts.own.state is not None:
            if facts.own.state.fill_percent >= FAST_FILL_PERCENT:
                gap = self.settings.fast_beat_seconds
            elif facts.fill_percent_rate > 0:
                gap = min(gap, FILL_STEP_PERCENT / facts.fill_percent_rate)
        return self.told.seconds + max(self.settings.fast_beat_seconds, gap)

    def _purge(self, facts: Facts, state: JournalState) -> list[Action]:
        """Free what was confirmed; with nothing to free say it again now and then."""
        confirmed = confirmed_sequence(facts)
        if confirmed is None or facts.contact_failure is not None:
            return []
        before = facts.own.position(Pointer.CONFIRMED).sequence
        # A journal that was full and is to be used again is freed in any case.
        at_once = facts.pair.policy.purge == "at_once" or self.resync_ordered
        goal = confirmed if at_once else min(confirmed, before)
        if self.pace.due(OrderPurge, every=self.settings.fast_beat_seconds if goal > before else WORD_SECONDS):
            return [OrderPurge(PurgeRequest(reader=facts.peer_site, to_sequence=goal))]
        return []


def _copying(facts: Facts) -> bool:
    """Whether the secondary is at its initial copy, or is about to begin it: somebody is waiting for its end."""
    state = facts.peer.state
    if state is None or state.role is not Role.SECONDARY or facts.contact_failure is not None:
        return False
    changed = facts.own.state is not None and facts.own.state.changes_final
    return changed or state.initial_copy.state in (CopyState.NONE, CopyState.RUNNING)


def _superseded_for_good(facts: Facts) -> bool:
    """Whether the own controller is fenced, and the other site serves."""
    own, peer = facts.own.state, facts.peer.state
    fenced = own is not None and own.role is Role.FENCED
    return fenced and peer is not None and peer.role in (Role.TAKEN_OVER, Role.PRIMARY)


def superseded(facts: Facts, state: JournalState) -> bool:
    """Whether the pair has gone on elsewhere under a generation that the own controller does not have."""
    return facts.taken_over or facts.generation_known > state.generation


def confirmed_sequence(facts: Facts) -> int | None:
    """What the secondary said to have durably; None when what it said is not about this pair as it is now."""
    state = facts.peer.state
    if (
        state is None
        or state.uuid != facts.pair.uuid
        or state.role is not Role.SECONDARY
        or state.generation != facts.generation_known
        or facts.taken_over
    ):
        return None
    return facts.peer.position(Pointer.ALREADY_READ).sequence


def message(facts: Facts) -> Exchange:
    """What this agent tells the other one now."""
    return Exchange(
        site=facts.site,
        pair=facts.pair,
        state=facts.own.state if facts.own.failure is None else None,
        failure=facts.own.failure,
        composition=facts.composition if facts.is_primary else None,
        links=facts.links if facts.is_primary else None,
        generation_known=facts.generation_known,
        divided_generation=facts.divided_generation,
        regions=_untaken(facts),
        host=facts.host,
        stands_in=facts.stands_in,
        drives=facts.drives,
        refusal=facts.refused_by_disk,
    )


def _untaken(facts: Facts) -> ChangedRegions | None:
    """The primary's changed regions, until the secondary works on them: they may be many."""
    own, peer, regions = facts.own.state, facts.peer.state, facts.regions
    if not facts.is_primary or own is None or regions is None or regions.epoch != own.epoch:
        return None
    copy = peer.initial_copy if peer is not None else None
    working = copy is not None and copy.state in (CopyState.RUNNING, CopyState.DONE)
    return None if working and copy is not None and copy.epoch == regions.epoch else regions


def _knows_journal(facts: Facts, state: JournalState) -> bool:
    """Whether the addresses known are of the journal in use and of every volume: both may have changed."""
    if facts.links is None or facts.composition is None or not compression.known(facts, state):
        return False
    if {str(index) for index in state.volume_indices} - facts.links.volume_uris.keys():
        return False
    return state.journal_uuid is None or facts.composition.journal_uuid == state.journal_uuid
