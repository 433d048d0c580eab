"""Which way connections of the data link go, under a clock that the test moves."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from controller.copy.ways import RETRY_SECONDS_MAX, Ways
from tests.support.waiting import wait_until


class Scene:
    def __init__(self) -> None:
        self.seconds = 100.0
        self.events: list[str] = []
        self.ways = Ways(self.event, lambda: self.seconds)

    def event(self, level: str, name: str, message: str, facts: dict[str, Any]) -> None:
        self.events.append(name)

    def probe(self, words: str | None) -> bool:
        """Let time for a probe come, and it end so; whether there was one."""
        done = threading.Event()

        def attempt() -> str | None:
            done.set()
            return words

        self.ways.probe(attempt)
        if not done.is_set():
            done.wait(0.05 if self.ways.usable else 5)
        wait_until(lambda: not self.ways._probing, what="the probe to end")
        return done.is_set()


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_relay_that_is_back_at_once_is_nobodys_business(scene: Scene) -> None:
    scene.ways.failed("refused")
    assert not scene.ways.usable
    scene.ways.went_straight()
    scene.seconds += 1
    assert scene.probe(None)
    assert scene.ways.usable
    scene.ways.works()
    assert scene.events == []


def test_one_that_stays_away_is_told_once_and_looked_for_ever_more_rarely(scene: Scene) -> None:
    scene.ways.failed("refused")
    scene.ways.failed("refused")  # the other lane, at the same moment
    gaps = []
    for _ in range(8):
        before = scene.seconds
        while scene.ways._retry_at > scene.seconds:
            scene.seconds += 1
        gaps.append(scene.seconds - before)
        assert scene.probe("refused")
        scene.ways.went_straight()
    assert gaps == [1, 2, 4, 8, 16, 30, 30, RETRY_SECONDS_MAX]
    assert scene.events == ["copy.compression_lost"]
    scene.seconds += RETRY_SECONDS_MAX
    assert scene.probe(None)
    scene.ways.works()
    scene.ways.works()
    assert scene.events == ["copy.compression_lost", "copy.compression_back"]


def test_a_link_that_is_down_both_ways_says_nothing_against_the_relay(scene: Scene) -> None:
    for _ in range(5):
        scene.ways.failed("no route")
        scene.ways.broke_straight()
        assert scene.ways.usable
    scene.ways.failed("no route")
    scene.ways.went_straight()
    assert scene.events == []
