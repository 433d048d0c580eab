"""A thread that repeats turns of work, and the one way in which it meets errors.

Owns the thread, its state (`activity.py`) and the wait between turns. What a
turn does, and what it is waiting for, belongs to the subclass.
"""

from __future__ import annotations

import math
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final

from controller.api.models import Failure
from controller.copy.activity import Activity, Happening, after
from controller.errors import PairvolError, PeerError, StorageError

BACKOFF_SECONDS_MIN: Final = 0.1
BACKOFF_SECONDS_MAX: Final = 1.0

OnEvent = Callable[[str, str, str, dict[str, Any]], None]
"""(level, stable dotted name, message, facts): goes to the event log."""


class Loop(ABC):
    """One worker thread. `order`, `wake` and `halt` may be called by any thread.

    `failure` is what stopped it; it is cleared by the explicit order that lets
    it try again, or when a try of its own came right (`right_again`). `stop`
    is set at halt and ends waits on the data link.
    `changed` guards the state, and whatever orders the subclass keeps.
    """

    def __init__(self, name: str, on_event: OnEvent) -> None:
        self.name = name
        self.on_event = on_event
        self.activity = Activity.IDLE
        self.failure: Failure | None = None
        self.error: PairvolError | None = None
        self.stop = threading.Event()
        self.changed = threading.Condition()
        self._woken = False
        self._restart = False
        self._retry_at = math.inf  # when a failed thread tries again by itself
        self._backoff_seconds = BACKOFF_SECONDS_MIN
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)

    @abstractmethod
    def turn(self) -> float | None:
        """Do one piece of work; how many seconds to wait before the next (None: until woken)."""

    @abstractmethod
    def restart(self) -> None:
        """Go back to the durable point; called before the first turn after a failure."""

    @abstractmethod
    def finished(self) -> None:
        """Called in the thread when it ends, to drop what only the thread used."""

    def retry_seconds(self, error: PairvolError) -> float | None:
        """After how long a failed thread tries again by itself; None: only when it is ordered to."""
        return None

    def start(self) -> None:
        self._thread.start()

    def order(self, *, explicit: bool = False) -> None:
        """There is something to do; an explicit order also lets a failed thread try again."""
        with self.changed:
            if self.activity is Activity.HALTED:
                return
            if explicit and self.activity is Activity.FAILED:
                self._restart = True
                self.failure = self.error = None
            self._happen(Happening.EXPLICIT if explicit else Happening.ORDERED)
            self._wake()

    def wake(self) -> None:
        """End the present wait between turns."""
        with self.changed:
            self._wake()

    def halt(self) -> None:
        """End the thread after its present turn; returns when it has ended."""
        with self.changed:
            self._happen(Happening.HALT)
            self.stop.set()
            self._wake()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def done_unless(self, ordered: Callable[[], bool]) -> bool:
        """In a turn: come to rest when nothing is ordered any more. No order can slip between asking and resting."""
        with self.changed:
            if ordered():
                return False
            self._happen(Happening.DONE)
            return True

    def _wake(self) -> None:
        self._woken = True
        self.changed.notify_all()

    def _happen(self, happening: Happening) -> None:
        self.activity = after(self.activity, happening)

    def _main(self) -> None:
        while True:
            with self.changed:
                if self.activity is Activity.HALTED:
                    break
                self._woken = False
                if self.activity is Activity.FAILED and time.monotonic() >= self._retry_at:
                    self._restart = True
                    self._happen(Happening.RETRY)
                working = self.activity in (Activity.RUNNING, Activity.BACKING_OFF)
            delay = self._guarded_turn() if working else None
            with self.changed:
                if self.activity is Activity.FAILED and self._retry_at < math.inf:
                    delay = max(0.001, self._retry_at - time.monotonic())
                if delay != 0:
                    self.changed.wait_for(lambda: self._woken, delay)
        self.finished()

    def _guarded_turn(self) -> float | None:
        failure: PairvolError
        try:
            if self._restart:
                self._restart = False
                self.restart()
            delay = self.turn()
            self._worked()
            return delay
        except PeerError as error:
            return self._lost(error)
        except PairvolError as error:
            failure = error
        except OSError as error:
            failure = StorageError(f"{self.name}: {(error.strerror or str(error)).lower()}")
        except Exception as error:  # noqa: BLE001 - the boundary of a thread: it must be seen, not vanish
            failure = PairvolError(f"{self.name} met a mistake in the program: {error!r}")
        self._fail(failure)
        return None

    def right_again(self) -> None:
        """In a turn: what failed came right at a try of its own."""
        with self.changed:
            failure, self.failure, self.error = self.failure, None, None
        if failure is not None:
            self.on_event("info", f"{self.name}.right_again", f"{failure.message}: read again, it is right", {})

    def _worked(self) -> None:
        with self.changed:
            back = self.activity is Activity.BACKING_OFF
            if back:
                self._happen(Happening.LINK_BACK)
            self._backoff_seconds = BACKOFF_SECONDS_MIN
        if back:
            self.on_event("info", f"{self.name}.link_back", "the data link is back", {})

    def _lost(self, error: PeerError) -> float | None:
        with self.changed:
            if self.activity is Activity.HALTED:
                return None
            first = self.activity is Activity.RUNNING
            self._happen(Happening.LINK_LOST)
            delay = self._backoff_seconds
            self._backoff_seconds = min(2 * delay, BACKOFF_SECONDS_MAX)
        if first:
            self.on_event("warning", f"{self.name}.link_lost", error.message, {"hint": error.hint})
        return delay

    def _fail(self, error: PairvolError) -> None:
        retry_seconds = self.retry_seconds(error)
        with self.changed:
            if self.activity is Activity.HALTED:
                return
            self._happen(Happening.FAULT)
            self._retry_at = math.inf if retry_seconds is None else time.monotonic() + retry_seconds
            if self.failure is not None and self.failure.message == error.message:
                return  # a try of its own met the same again
            self.error = error
            self.failure = Failure(
                error=type(error).__name__, message=error.message, hint=error.hint, time_ns=time.time_ns()
            )
        self.on_event("error", f"{self.name}.failed", error.message, {"hint": error.hint, **error.facts})
