"""A program that waits in simulated time: a thread that runs only while the history lets it.

Exactly one thread runs at any moment, so a history replays exactly. A fiber
of a process that crashed is woken with CrashedError, and unwinds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class CrashedError(BaseException):
    """The process of this fiber was killed: nothing that it does from here on may have an effect."""


class Fiber:
    """`body` runs when it is resumed for the first time, until it waits or ends."""

    def __init__(self, body: Callable[[Fiber], None]) -> None:
        self._body = body
        self._mine, self._theirs = threading.Semaphore(0), threading.Semaphore(0)
        self._value: object = None
        self._error: BaseException | None = None
        self.ended = False
        self.crashed = False
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._started = False

    def resume(self, value: object = None) -> None:
        """Let it run until it waits again or ends; what it did not catch is raised here."""
        self._value = value
        if self._started:
            self._mine.release()
        else:
            self._started = True
            self._thread.start()
        self._theirs.acquire()
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def crash(self) -> None:
        """Kill it where it waits."""
        self.crashed = True
        if self._started and not self.ended:
            self.resume()

    def wait(self) -> object:
        """In the fiber: give the turn back; what `resume` was given when it comes round again."""
        self._theirs.release()
        self._mine.acquire()
        if self.crashed:
            raise CrashedError
        return self._value

    def _main(self) -> None:
        try:
            self._body(self)
        except CrashedError:
            pass
        except BaseException as error:  # noqa: BLE001 - it is raised where the history runs
            self._error = error
        self.ended = True
        self._theirs.release()
