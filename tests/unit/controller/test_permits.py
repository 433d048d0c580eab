"""Permits: a returning primary waits for the order to serve, or for its time to be over."""

from __future__ import annotations

import threading

import pytest

from controller.config import ReturnSettings
from controller.groups.permits import Permits


def test_without_word_it_serves_alone_only_when_that_was_chosen() -> None:
    for alone in (True, False):
        held = Permits(ReturnSettings(alone=alone, alone_after_seconds=0.0))
        served = threading.Event()
        held.wait("db", served.set)
        assert served.wait(10 if alone else 0.1) is alone
        assert held.awaits("db")
        held.end_wait("db")
        assert not held.awaits("db")
        held.close()


def test_word_in_time_stops_the_clock() -> None:
    held = Permits(ReturnSettings(alone_after_seconds=3600))
    held.wait("db", lambda: pytest.fail("it was told"))
    held.end_wait("db")
    held.end_wait("db")
    assert not held.awaits("db")
    held.close()
