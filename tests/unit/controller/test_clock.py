"""A clock that is set is told, by how much and to what; one that is slewed or read late is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.clock import READ_NS_MAX, STEP_NS_MIN, ClockWatch
from controller.events import Events
from tests.support.waiting import wait_until

SECOND = 1_000_000_000
YEAR = 365 * 86400 * SECOND
NOON = 1_800_000_000 * SECOND


class Clocks:
    """Two clocks that a test moves."""

    def __init__(self) -> None:
        self.wall_ns, self.steady_ns = NOON, 5 * SECOND
        self.stalls: list[int] = []  # nanoseconds that the next reads of the wall clock take

    def pass_by(self, ns: int) -> None:
        self.wall_ns += ns
        self.steady_ns += ns

    def wall(self) -> int:
        answer = self.wall_ns
        if self.stalls:
            self.pass_by(self.stalls.pop(0))
        return answer

    def steady(self) -> int:
        return self.steady_ns


@pytest.fixture
def events(tmp_path: Path) -> Iterator[Events]:
    log = Events(tmp_path / "events.jsonl", "tokyo")
    yield log
    log.close()


def test_steps_are_told_once_each(events: Events) -> None:
    clocks = Clocks()
    watch = ClockWatch(events, clocks.wall, clocks.steady)
    clocks.pass_by(3600 * SECOND)
    assert watch.look() == 0
    clocks.wall_ns -= 3600 * SECOND
    assert watch.look() == -3600 * SECOND
    clocks.pass_by(5 * SECOND)
    assert watch.look() == 0
    clocks.wall_ns += YEAR
    assert watch.look() == YEAR
    back, ahead = events.after(0)
    assert (back.name, back.level, back.facts["step_seconds"]) == ("clock.step", "warning", -3600.0)
    assert back.facts["before_ns"] - back.facts["now_ns"] == 3600 * SECOND
    assert "set back by 1 h, to 2027-01-15T08:00:00.000Z" in back.message
    assert "set ahead by 365 d, to 2028-01-15" in ahead.message


def test_small_steps_add_up(events: Events) -> None:
    clocks = Clocks()
    watch = ClockWatch(events, clocks.wall, clocks.steady)
    for _ in range(3):
        clocks.wall_ns += STEP_NS_MIN // 3
        assert watch.look() == 0
    clocks.wall_ns += STEP_NS_MIN // 3
    assert watch.look() >= STEP_NS_MIN


def test_a_thread_that_was_kept_waiting_is_no_step(events: Events) -> None:
    clocks = Clocks()
    watch = ClockWatch(events, clocks.wall, clocks.steady)
    clocks.stalls = [10 * SECOND, READ_NS_MAX + 1]
    assert watch.look() == 0
    assert events.after(0) == []


def test_it_looks_by_itself(events: Events) -> None:
    clocks = Clocks()
    watch = ClockWatch(events, clocks.wall, clocks.steady, beat_seconds=0.01)
    watch.start()
    clocks.wall_ns -= YEAR
    wait_until(lambda: events.after(0), what="the step to be told")
    watch.stop()
    assert [event.facts["step_seconds"] for event in events.after(0)] == [-YEAR / SECOND]
