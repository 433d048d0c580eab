"""Copy managers with one mistake each: the simulation must catch every one of them."""

from __future__ import annotations

from collections.abc import Callable

from controller.api.lifecycle import EpochOrder, ServeOrder
from controller.api.models import CopySource, JournalState, PurgeRequest, RestoreRequest
from controller.journal.pointers import Pointer
from hostagent.config import CopySettings
from hostagent.copy_manager.actions import Action, OrderClearEpoch, OrderFence, OrderPurge, OrderRestore, OrderServe
from hostagent.copy_manager.facts import Facts
from hostagent.copy_manager.manager import CopyManager
from hostagent.copy_manager.primary import PrimaryRole
from hostagent.copy_manager.secondary import SecondaryRole
from hostagent.copy_manager.side import Instant


class PurgesScheduled(PrimaryRole):
    """Takes what the secondary means to read for what it has."""

    def _purge(self, facts: Facts, state: JournalState) -> list[Action]:
        scheduled = facts.peer.position(Pointer.READ_SCHEDULED).sequence
        goal = min(scheduled, facts.own.position(Pointer.DURABLE).sequence)
        if goal > facts.own.position(Pointer.CONFIRMED).sequence and self.pace.due(OrderPurge, every=0.1):
            return [OrderPurge(PurgeRequest(reader=facts.peer_site, to_sequence=goal))]
        return []


class NeverYields(PrimaryRole):
    """Goes on as primary although a higher generation exists."""

    def step(self, now: Instant, facts: Facts) -> list[Action]:
        return [action for action in PrimaryRole.step(self, now, facts) if not isinstance(action, OrderFence)]


class ServesBlindly(PrimaryRole):
    """Lets a primary that came back serve without having heard of the other site."""

    def _serve(self, now: Instant, facts: Facts, state: JournalState) -> list[Action]:
        if state.awaits_serve and self.pace.due(OrderServe, every=1.0):
            return [OrderServe(ServeOrder(generation=state.generation))]
        return []


class CopiesTooEarly(SecondaryRole):
    """Begins the initial copy before acquisition runs: writes in between are lost."""

    def _initial_copy(self, facts: Facts, state: JournalState, source: CopySource) -> list[Action]:
        if facts.peer.state is not None:
            facts.peer.state.acquisition = True
        return SecondaryRole._initial_copy(self, facts, state, source)


class OrdersOnce(SecondaryRole):
    """Trusts that an order given is an order obeyed."""

    def _copy(self, now: Instant, facts: Facts, state: JournalState, source: CopySource) -> list[Action]:
        return [] if self._followed is not None else SecondaryRole._copy(self, now, facts, state, source)


class RestoresUnread(SecondaryRole):
    """Restores past what was read."""

    def _restore(self, facts: Facts, state: JournalState) -> list[Action]:
        if not SecondaryRole._restore(self, facts, state):
            return []
        unread = facts.own.position(Pointer.ALREADY_READ).sequence + 1
        return [OrderRestore(RestoreRequest(to_sequence=unread))]


class ClearsEarly(PrimaryRole):
    """Forgets the changed regions as soon as the secondary works on them."""

    def _resync(self, facts: Facts, state: JournalState) -> list[Action]:
        copy = facts.peer.state.initial_copy if facts.peer.state is not None else None
        if state.epoch is not None and state.changes_final and copy is not None and copy.epoch == state.epoch:
            order = OrderClearEpoch(EpochOrder(epoch=state.epoch))
            return [order] if self.pace.due(OrderClearEpoch, every=0.5) else []
        return PrimaryRole._resync(self, facts, state)


class NeverResumes(PrimaryRole):
    """Leaves a journal that was full to a person."""

    def _resync(self, facts: Facts, state: JournalState) -> list[Action]:
        return []


def _with(
    primary: type[PrimaryRole] = PrimaryRole, secondary: type[SecondaryRole] = SecondaryRole
) -> Callable[[CopySettings], CopyManager]:
    def make(settings: CopySettings) -> CopyManager:
        manager = CopyManager(settings)
        manager.primary = primary(settings, manager.pace)
        manager.secondary = secondary(settings, manager.pace)
        return manager

    return make


MUTANTS: dict[str, Callable[[CopySettings], CopyManager]] = {
    "clears-early": _with(primary=ClearsEarly),
    "never-resumes": _with(primary=NeverResumes),
    "purges-scheduled": _with(primary=PurgesScheduled),
    "never-yields": _with(primary=NeverYields),
    "serves-blindly": _with(primary=ServesBlindly),
    "copies-too-early": _with(secondary=CopiesTooEarly),
    "orders-once": _with(secondary=OrdersOnce),
    "restores-unread": _with(secondary=RestoresUnread),
}
