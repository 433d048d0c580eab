"""Commands to one thing wait for each other, those to different things do not, and nobody waits for ever."""

from __future__ import annotations

import threading

import pytest

from controller.errors import ConflictError
from controller.locks import KeyedLocks


def in_other_thread(locks: KeyedLocks, **keys: list[str]) -> ConflictError | None:
    outcome: list[ConflictError | None] = []

    def take() -> None:
        try:
            with locks.hold(**keys):
                outcome.append(None)
        except ConflictError as error:
            outcome.append(error)

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return outcome[0]


def test_a_busy_thing_is_named_after_a_bounded_wait() -> None:
    locks = KeyedLocks(wait_seconds=0.01)
    with locks.hold(groups=["db"], volumes=["a"]):
        busy = in_other_thread(locks, volumes=["a", "b"])
        assert busy is not None
        assert "volume a is busy" in busy.message
        assert in_other_thread(locks, groups=["a"], volumes=["b"]) is None
    assert in_other_thread(locks, groups=["db"], volumes=["a", "b"]) is None


def test_what_was_taken_before_the_busy_one_is_given_back() -> None:
    locks = KeyedLocks(wait_seconds=0.01)
    with locks.hold(volumes=["b"]):
        assert in_other_thread(locks, volumes=["a", "b"]) is not None
        assert in_other_thread(locks, volumes=["a"]) is None


def test_a_command_may_hold_a_thing_twice() -> None:
    locks = KeyedLocks(wait_seconds=0.01)
    with locks.hold(groups=["db"]), locks.hold(groups=["db"]):
        pass
    with locks.hold(groups=["db"]), pytest.raises(ZeroDivisionError), locks.hold(groups=["db"]):
        _ = 1 / 0
    assert in_other_thread(locks, groups=["db"]) is None
