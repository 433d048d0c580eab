"""Puts the marker "initial-copy-done" into the journal when the secondary has become a consistent copy.

Owns when that is worth trying; the controller puts it once for each copy of
whole volumes, however often it is asked. Must not hold anything up: a marker
that finds no room is tried again later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from controller.api.client import ControllerClient
from controller.api.markers import MarkerOrder
from controller.errors import PairvolError
from controller.journal.markers import LISTED, MarkerKind
from hostagent.api.models import PairState
from hostagent.copy_manager.facts import Facts
from hostagent.copy_manager.side import Instant

AGAIN_SECONDS: Final = 5.0


@dataclass(slots=True)
class CopiedMarker:
    """Of one pair, for the thread that works on it."""

    _put: tuple[int, int | None] | None = None  # (turns, gap) of the copy for which it is there
    _not_before: float = 0.0

    def wanted(self, now: Instant, facts: Facts, state: PairState) -> MarkerOrder | None:
        """The order, when a protected pair may not have its marker yet."""
        own = facts.own.state
        if state is not PairState.PAIR or not facts.is_primary or own is None or now.seconds < self._not_before:
            return None
        if self._put == (facts.pair.turns, own.gap_sequence):
            return None
        name = LISTED[MarkerKind.COPIED]
        assert name is not None
        return MarkerOrder(name=name, kind=MarkerKind.COPIED, once_after=own.gap_sequence or 0)

    def put(self, now: Instant, facts: Facts, order: MarkerOrder, controller: ControllerClient) -> None:
        turns, gap = facts.pair.turns, facts.own.state.gap_sequence if facts.own.state else None
        try:
            controller.put_marker(facts.pair.group, order)
        except PairvolError:
            self._not_before = now.seconds + AGAIN_SECONDS
            return
        self._put = turns, gap
