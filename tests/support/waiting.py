"""Waiting for a condition with a deadline: the only place in the tests that sleeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

DEFAULT_TIMEOUT_SECONDS = 20.0
INTERVAL_SECONDS_MAX = 0.1
SHARE = 0.08  # of the time that was waited so far


class DeadlineError(AssertionError):
    """The condition did not come true in time. An assertion, so that a test fails rather than errs."""


def wait_until(
    condition: Callable[[], Found],
    timeout: float = DEFAULT_TIMEOUT_SECONDS,
    what: str = "",
    interval: float = 0.02,
) -> Found:
    """Call `condition` until it answers something true, and return that.

    It is asked after `interval` seconds first, and more seldom the longer it takes: asking costs
    the processes that are waited for the time in which they would get there.
    `what` says what was awaited; the last answer is added to the message.
    An exception of the condition is not swallowed: a condition that may
    fail for a while says so itself.
    """
    began = time.monotonic()
    deadline = began + timeout
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() >= deadline:
            name = what or getattr(condition, "__name__", "condition")
            raise DeadlineError(f"waited {timeout:g} s in vain for: {name} (last answer: {found!r})")
        time.sleep(max(interval, min((time.monotonic() - began) * SHARE, INTERVAL_SECONDS_MAX)))
