"""Waiting for the last journal of an old primary: who copies is told again, and a link that is down ends it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from controller.api.models import Position
from controller.journal.layout import BLOCK_BYTES
from controller.journal.pointers import Pointer
from hostagent.commands import old_primary
from hostagent.commands.old_primary import LOOK_SECONDS, OldPrimary

LAST = SimpleNamespace(pointers={Pointer.JOURNAL_IN.value: Position(sequence=10, data_position=80)})


class Clock:
    """The seconds that waits at the controller took."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


class Copying:
    """A controller whose copy moves one journal for each order that it was told to heed."""

    def __init__(self, clock: Clock, heeds: range) -> None:
        self._clock, self._heeds = clock, heeds
        self.orders = 0

    def order_copy(self, *words: object) -> None:
        self.orders += 1

    def state(self, group: str, after: int, seconds: float) -> Any:
        self._clock.seconds += seconds
        read = len([order for order in self._heeds if order <= self.orders])
        return SimpleNamespace(pointers={Pointer.ALREADY_READ.value: Position(sequence=read, data_position=8 * read)})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(old_primary, "time", clock)
    monkeypatch.setattr(old_primary, "copy_order", lambda *words: "order")
    return clock


def old(controller: Copying) -> OldPrimary:
    runner = SimpleNamespace(ask=lambda question: "source", pair=None)
    host = SimpleNamespace(controller=controller, peers=SimpleNamespace(get=lambda site: None))
    pair = SimpleNamespace(group="db", primary=SimpleNamespace(site="tokyo"))
    anything: Any = OldPrimary
    made: OldPrimary = anything(host, runner, pair, False)
    return made


def test_a_copy_that_missed_the_first_order_is_told_again(clock: Clock) -> None:
    controller = Copying(clock, range(3, 13))
    primary: Any = LAST
    assert old(controller)._drain(primary, Pointer.JOURNAL_IN, 20.0) is None
    assert controller.orders == 12
    assert clock.seconds == pytest.approx(12 * LOOK_SECONDS)


def test_a_link_that_is_down_is_not_waited_for_to_the_end(clock: Clock) -> None:
    controller = Copying(clock, range(1, 5))
    primary: Any = LAST
    missing = old(controller)._drain(primary, Pointer.JOURNAL_IN, 20.0)
    assert missing is not None
    assert (missing.journals, missing.data_bytes) == (6, 48 * BLOCK_BYTES)
    assert clock.seconds < 20.0
