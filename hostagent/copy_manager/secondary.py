"""The secondary's part of the copy manager: initial copy, copy on its triggers, restore.

Pure; see `manager.py`. It orders and never purges: what the primary may free
is for the primary's agent to decide, from what this side says it has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from controller.api.models import (
    CopyMode,
    CopyOrder,
    CopySource,
    CopyState,
    Failure,
    InitialCopyMethod,
    InitialCopyOrder,
    JournalState,
    RestoreRequest,
    Role,
    SplitMode,
)
from controller.errors import BY_NAME
from controller.journal.pointers import Pointer
from hostagent.api.models import Trigger
from hostagent.config import CopySettings
from hostagent.copy_manager.actions import (
    Action,
    ExchangeWithPeer,
    OrderCopy,
    OrderInitialCopy,
    OrderRestore,
    QueryState,
)
from hostagent.copy_manager.facts import Facts
from hostagent.copy_manager.pace import Pace
from hostagent.copy_manager.primary import message
from hostagent.copy_manager.side import Instant
from hostagent.life import rejoin, resync
from hostagent.limit import copy_order

RENEW_SHARE: Final = 0.3  # of the lease: three renewals may be lost
REORDER_SECONDS: Final = 0.5  # the shortest time between two orders of one kind
INITIAL_COPY_SECONDS: Final = 5.0
RESTED_SECONDS: Final = 1.0  # without a new journal: by then the controller looks for them rarely
SILENCE_SHARE: Final = 1.25  # of an idle beat without a word from the primary: look and call oneself


@dataclass(slots=True)
class SecondaryRole:
    settings: CopySettings
    pace: Pace
    copy_to: int | None = None  # the goal of copies on schedule, fill level or command
    resync_ordered: bool = False  # a person ordered a failed resync again
    _told: Instant | None = None
    _next_schedule: float | None = None
    _followed: CopyOrder | None = None  # the last FOLLOW order
    _durable: int = 0  # the primary's last journal, as far as was heard
    _durable_at: float = -RESTED_SECONDS  # when that was heard first
    _awaited: bool = False  # a journal after a rest, for which no order was given yet

    def step(self, now: Instant, facts: Facts) -> list[Action]:
        actions: list[Action] = []
        silence = SILENCE_SHARE * self.settings.idle_beat_seconds  # each word is answered with a look at the own side
        beat = silence if facts.own.failure is None else self.settings.beat_seconds
        looked = facts.asked.seconds + beat if facts.asked is not None else 0.0
        if self.pace.reached(looked) and self.pace.due(QueryState):
            actions.append(QueryState())
        spoken = max([moment.seconds for moment in (facts.contact, self._told) if moment], default=None)
        calls = spoken is None or self.pace.reached(spoken + silence) or facts.peer.starts.doubted
        if calls and self.pace.due(ExchangeWithPeer, every=REORDER_SECONDS):
            self._told = now
            actions.append(ExchangeWithPeer(message(facts)))
        state = facts.own.state
        if state is None or facts.own.failure is not None:
            return actions
        if facts.taken_over or state.uuid != facts.pair.uuid or not may_copy(facts, state):
            if not facts.taken_over:
                actions += rejoin.fence(facts, state, self.pace) + rejoin.demote(facts, state, self.pace)
            return actions
        source = facts.source
        if source is not None and _whole(source, state):
            if resync.needs_regions(facts, state):
                actions += self._resync(facts, state, source)
            else:
                actions += self._initial_copy(facts, state, source)
            actions += self._copy(now, facts, state, source)
        actions += self._restore(facts, state)
        return actions

    def _resync(self, facts: Facts, state: JournalState, source: CopySource) -> list[Action]:
        copy, failed = state.initial_copy, lasting(state.initial_copy.failure)
        wanted, found = self.resync_ordered, facts.regions
        orders = resync.of_secondary(facts, state, source, self.pace, lasting=failed, wanted=wanted)
        if orders or (found is not None and copy.epoch == found.epoch and copy.state is CopyState.DONE):
            self.resync_ordered = False
        return orders

    def _initial_copy(self, facts: Facts, state: JournalState, source: CopySource) -> list[Action]:
        """Begin it once acquisition runs (else writes meanwhile would be lost), and anew after a gap in acquisition.

        While it runs the order is repeated, in case the primary is read at
        other addresses by now. One that a disk or a checksum stopped is left
        to a person.
        """
        primary, copy = facts.peer.state, state.initial_copy
        if primary is None or not primary.acquisition or state.split is not SplitMode.OFF:
            return []
        if primary.epoch is not None and not primary.changes_final:
            return []  # what is written there now is in no journal
        if copy.gap_sequence == primary.gap_sequence and (
            copy.state is CopyState.DONE or (copy.state is CopyState.FAILED and lasting(copy.failure))
        ):
            return []
        runs = copy.state is CopyState.RUNNING and copy.gap_sequence == primary.gap_sequence
        runs = runs and not stale_limit(facts, state)
        if not self.pace.due(OrderInitialCopy, every=INITIAL_COPY_SECONDS if runs else REORDER_SECONDS):
            return []
        # The pair's own way speaks of the volumes as they were when it was made.
        first = primary.gap_sequence is None and not facts.pair.turns
        method = facts.pair.initial_copy if first else InitialCopyMethod.DIRECT
        limit = facts.pair.policy.limit_bytes_per_second
        order = InitialCopyOrder(
            source=source, method=method, gap_sequence=primary.gap_sequence, limit_bytes_per_second=limit
        )
        return [OrderInitialCopy(order)]

    def _copy(self, now: Instant, facts: Facts, state: JournalState, source: CopySource) -> list[Action]:
        """Follow the primary under a lease when notified; else copy to a goal, when there is one."""
        lease = self.settings.lease_seconds
        stale = stale_limit(facts, state)
        if facts.pair.policy.trigger is Trigger.NOTIFICATION:
            self._notified(now, facts)
            order = copy_order(facts.pair, source, CopyMode.FOLLOW, lease)
            soon = not state.copy_order_active or stale or self._awaited
            every = REORDER_SECONDS if soon else RENEW_SHARE * lease
            if not self.pace.due(OrderCopy, every=0.0 if order != self._followed else every):
                return []
            self._followed, self._awaited = order, False
            return [OrderCopy(order)]
        self._trigger(now, facts)
        if state.consistent_sequence is not None:
            # The journals written during the initial copy are its end, whatever the trigger.
            self.copy_to = max(self.copy_to or 0, state.consistent_sequence)
        if self.copy_to is not None and facts.own.position(Pointer.ALREADY_READ).sequence >= self.copy_to:
            self.copy_to = None
        if self.copy_to is None or (state.copy_order_active and not stale) or lasting(state.failure):
            return []
        if not self.pace.due(OrderCopy, every=REORDER_SECONDS):
            return []
        return [OrderCopy(copy_order(facts.pair, source, CopyMode.ONCE, lease, self.copy_to))]

    def _notified(self, now: Instant, facts: Facts) -> None:
        """Note whether the primary writes again after a rest: the controller would find that out later by itself."""
        durable = facts.peer.position(Pointer.DURABLE).sequence
        if durable != self._durable:
            rested = now.seconds - self._durable_at >= RESTED_SECONDS
            self._durable, self._durable_at = durable, now.seconds
            self._awaited = self._awaited or rested
        if facts.own.position(Pointer.ALREADY_READ).sequence >= durable:
            self._awaited = False

    def _trigger(self, now: Instant, facts: Facts) -> None:
        """Set the goal when the schedule or the fill level of the primary's journal says so."""
        policy, primary = facts.pair.policy, facts.peer.state
        if primary is None:
            return
        # What changed without journals comes over only behind every journal before it, whatever the trigger.
        due = primary.epoch is not None
        if policy.trigger is Trigger.COMMAND and not due:
            return
        if policy.trigger is Trigger.SCHEDULE:
            scheduled = self._next_schedule is None or self.pace.reached(self._next_schedule)
            if scheduled:
                due = True
                self._next_schedule = now.seconds + policy.schedule_seconds
        # The fill level also ends the wait of a schedule that is too slow for the load.
        if due or primary.fill_percent >= policy.fill_percent:
            self.copy_to = max(self.copy_to or 0, facts.peer.position(Pointer.DURABLE).sequence)

    def _restore(self, facts: Facts, state: JournalState) -> list[Action]:
        """Restore what was read when no copy order does it by itself; `later` means on command only."""
        read = facts.own.position(Pointer.ALREADY_READ).sequence
        end = resync.restore_goal(facts, state)
        if (
            end is not None
            and not lasting(state.failure)
            and facts.own.position(Pointer.ALREADY_RESTORED).sequence < end <= read
            and self.pace.due(OrderRestore, every=REORDER_SECONDS)
        ):
            return [OrderRestore(RestoreRequest(to_sequence=end))]
        if (
            facts.pair.policy.restore == "at_once"
            and not state.copy_order_active
            and not lasting(state.failure)
            and read > facts.own.position(Pointer.ALREADY_RESTORED).sequence
            and self.pace.due(OrderRestore, every=REORDER_SECONDS)
        ):
            return [OrderRestore(RestoreRequest(to_sequence=read))]
        return []


def lasting(failure: Failure | None) -> bool:
    """Whether a failure stays until a person acts: an explicit order would make the controller try again."""
    if failure is None:
        return False
    kind = BY_NAME.get(failure.error)
    return kind is None or not kind.retryable


def stale_limit(facts: Facts, state: JournalState) -> bool:
    """Whether this side's controller works under another bandwidth limit than the pair has now."""
    return state.limit_bytes_per_second != facts.pair.policy.limit_bytes_per_second


def may_copy(facts: Facts, state: JournalState) -> bool:
    """Only under the pair's own uuid and generation, and never once taken over."""
    return (
        state.role is Role.SECONDARY
        and state.uuid == facts.pair.uuid
        and not facts.taken_over
        and (facts.source is None or facts.source.generation == state.generation)
    )


def _whole(source: CopySource, state: JournalState) -> bool:
    """Whether the primary has told where each volume is read; one that joined may not be known there yet."""
    return not {str(index) for index in state.volume_indices} - source.links.volume_uris.keys()
