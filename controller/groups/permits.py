"""Whether a primary that comes back may serve hosts at once.

Whoever hears of the other site notes here that it does not serve. A note
counts for a minute and within one boot, so a controller or a volume server
that dies in a living site goes on at once, and a site that was away waits for
the order to serve. With `[serve] alone` it waits for a limited time only: the
operator chose that hosts go on when the other site cannot be reached.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from controller import durable
from controller.config import ReturnSettings
from controller.errors import PairvolError
from controller.paths import Paths
from controller.state import GroupRecord

GOOD_SECONDS: Final = 60.0
NOTE_SECONDS: Final = 5.0  # between two notes of one group


class Permits:
    """Any thread may call."""

    def __init__(self, paths: Paths, settings: ReturnSettings) -> None:
        self._paths = paths
        self._settings = settings
        self._lock = threading.Lock()
        self._noted: dict[str, float] = {}
        self._waiting: dict[str, threading.Timer] = {}

    def note(self, group: GroupRecord) -> None:
        """The other site is known, now, not to serve a higher generation."""
        now = _boot_seconds()
        with self._lock:
            waiting = self._waiting.pop(group.name, None)
            due = now - self._noted.get(group.name, -NOTE_SECONDS) >= NOTE_SECONDS
            if due:
                self._noted[group.name] = now
        if waiting is not None:
            waiting.cancel()
        if due:
            document = {"boot": _boot(), "seconds": now, "uuid": group.uuid, "generation": group.generation}
            durable.write_json(self._paths.permit(group.name), document)

    def good(self, group: GroupRecord) -> bool:
        """Whether there is a note that counts."""
        try:
            noted = durable.read_json(self._paths.permit(group.name))
            same = (noted["boot"], noted["uuid"], noted["generation"]) == (_boot(), group.uuid, group.generation)
            return same and 0 <= _boot_seconds() - float(noted["seconds"]) <= GOOD_SECONDS
        except (PairvolError, KeyError, TypeError, ValueError):
            return False

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

    def withdraw(self, group: str) -> None:
        """The group is no primary that waits any more."""
        with self._lock:
            waiting = self._waiting.pop(group, None)
            self._noted.pop(group, None)
        if waiting is not None:
            waiting.cancel()
        durable.remove(self._paths.permit(group))

    def close(self) -> None:
        with self._lock:
            for timer in self._waiting.values():
                timer.cancel()


def _boot_seconds() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _boot() -> str:
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()
