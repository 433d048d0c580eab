"""How a worker thread meets orders and errors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from controller.copy.activity import Activity
from controller.copy.loop import Loop
from controller.errors import IntegrityError, PairvolError, PeerError
from tests.support.waiting import wait_until


class Scripted(Loop):
    """Does what the script says at each turn, then comes to rest."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        super().__init__("copy", self._note)
        self.script: list[Callable[[], float | None]] = []
        self.turns = 0
        self.restarts = 0
        self.ended = threading.Event()

    def _note(self, level: str, name: str, message: str, facts: dict[str, Any]) -> None:
        self.events.append((name, message))

    def turn(self) -> float | None:
        if self.done_unless(lambda: bool(self.script)):
            return None
        self.turns += 1
        return self.script.pop(0)()

    def restart(self) -> None:
        self.restarts += 1

    def finished(self) -> None:
        self.ended.set()

    def play(self, *turns: Callable[[], float | None], explicit: bool = False) -> None:
        with self.changed:
            self.script += turns
            self.order(explicit=explicit)


def fine() -> float:
    return 0.0


def link_down() -> float:
    raise PeerError("no answer for 3 s", hint="Look at the network.")


def damage() -> float:
    raise IntegrityError("record 7 fails its checksum", sequence=7)


@pytest.fixture
def loop() -> Iterator[Scripted]:
    loop = Scripted()
    loop.start()
    yield loop
    loop.halt()
    assert loop.ended.is_set()


def test_turns_follow_orders(loop: Scripted) -> None:
    loop.play(fine, fine, fine)
    wait_until(lambda: loop.turns == 3 and loop.activity is Activity.IDLE)
    loop.play(fine)
    wait_until(lambda: loop.turns == 4 and loop.activity is Activity.IDLE)


def test_link_loss_is_tried_again_by_itself(loop: Scripted) -> None:
    loop.play(link_down, link_down, fine)
    wait_until(lambda: loop.turns == 3)
    wait_until(lambda: loop.activity is Activity.IDLE)
    assert loop.events == [("copy.link_lost", "no answer for 3 s"), ("copy.link_back", "the data link is back")]
    assert loop.failure is None


def test_fault_stops_it_until_an_explicit_order(loop: Scripted) -> None:
    loop.play(damage)
    wait_until(lambda: loop.activity is Activity.FAILED)
    failure = loop.failure
    assert failure is not None
    assert (failure.error, failure.message) == ("IntegrityError", "record 7 fails its checksum")
    assert failure.time_ns > 0
    loop.play(fine)
    loop.wake()
    loop.play(fine)
    assert loop.activity is Activity.FAILED
    assert loop.turns == 1
    loop.order(explicit=True)
    wait_until(lambda: loop.turns == 3)
    assert loop.restarts == 1
    assert loop.failure is None
    assert [name for name, _ in loop.events] == ["copy.failed"]


class Patient(Scripted):
    """Tries again by itself."""

    def retry_seconds(self, error: PairvolError) -> float | None:
        return 0.05

    def turn(self) -> float | None:
        delay = super().turn()
        self.right_again()
        return delay


def test_what_may_come_right_is_tried_again_by_itself_and_told_once() -> None:
    loop = Patient()
    loop.start()
    try:
        loop.play(damage, damage, damage, fine)
        loop.wake()  # an order renewed meanwhile does not end the tries
        wait_until(lambda: loop.turns == 4)
        wait_until(lambda: loop.activity is Activity.IDLE)
    finally:
        loop.halt()
    assert loop.failure is None
    assert [name for name, _ in loop.events] == ["copy.failed", "copy.right_again"]
    assert loop.restarts == 3


def test_mistake_in_the_program_is_seen(loop: Scripted) -> None:
    loop.play(lambda: 1 / 0)
    wait_until(lambda: loop.activity is Activity.FAILED)
    assert loop.failure is not None
    assert "ZeroDivisionError" in loop.failure.message


def test_disk_error_is_a_storage_error(loop: Scripted) -> None:
    def refuse() -> float:
        raise OSError(5, "Input/output error")

    loop.play(refuse)
    wait_until(lambda: loop.activity is Activity.FAILED)
    assert loop.failure is not None
    assert loop.failure.error == "StorageError"


def test_halt_ends_a_turn_that_waits_and_all_orders_after(loop: Scripted) -> None:
    waiting = threading.Event()

    def wait() -> float:
        waiting.set()
        loop.stop.wait(20)
        raise PeerError("stopped")

    loop.play(wait)
    assert waiting.wait(20)
    loop.halt()
    loop.play(fine)
    assert loop.activity is Activity.HALTED
    assert loop.turns == 1
    assert loop.events == []


def test_order_given_while_it_comes_to_rest_is_not_lost(loop: Scripted) -> None:
    for count in range(1, 300):
        loop.play(fine)
        wait_until(lambda count=count: loop.turns == count, interval=0)  # type: ignore[misc]
