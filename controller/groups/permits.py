"""Which primaries came back and wait for the order to serve hosts.

A primary whose volume server ended while no controller watched was away: the
other site may have taken over meanwhile, however short that was. It waits
until somebody who has just heard the other site orders it to serve. With
`[serve] alone` it waits for a limited time only: the operator chose that hosts
go on when the other site cannot be reached.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from controller.config import ReturnSettings


class Permits:
    """Any thread may call. In memory: the next controller finds out anew who was away."""

    def __init__(self, settings: ReturnSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._waiting: dict[str, threading.Timer] = {}

    def awaits(self, group: str) -> bool:
        """Whether a group waits for the order to serve."""
        with self._lock:
            return group in self._waiting

    def wait(self, group: str, serve_alone: Callable[[], None]) -> None:
        """Wait for the order; without it `serve_alone` is called when the time is over, if that was chosen."""

        def over() -> None:
            if self.awaits(group):
                serve_alone()

        timer = threading.Timer(self._settings.alone_after_seconds, over)
        timer.daemon = True
        with self._lock:
            self._waiting[group] = timer
        if self._settings.alone:
            timer.start()

    def end_wait(self, group: str) -> None:
        """The group serves, or is no primary that waits any more; one that does not wait is no error."""
        with self._lock:
            waiting = self._waiting.pop(group, None)
        if waiting is not None:
            waiting.cancel()

    def close(self) -> None:
        with self._lock:
            for timer in self._waiting.values():
                timer.cancel()
