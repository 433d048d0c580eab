"""Takes the storage controller's events into the agent's own log, so that one number orders both.

Owns a thread that waits at the controller. What it has taken is read from the
agent's own log after a restart; an event whose time was lost with a crash is
taken again, never left out while the controller still has it.
"""

from __future__ import annotations

import logging
import threading
from typing import Final

from controller.api.client import ControllerClient
from controller.errors import PairvolError
from controller.events import Events

WAIT_SECONDS: Final = 20.0
RETRY_SECONDS: Final = 2.0
NUMBER: Final = "controller_number"
TIME: Final = "controller_time_ns"

_log = logging.getLogger("pairvol.agent")


class ControllerFeed:
    """`start` begins; `stop` lets the thread end by itself."""

    def __init__(self, controller: ControllerClient, events: Events) -> None:
        self._controller = controller
        self._events = events
        taken = [event.facts[NUMBER] for event in events.after(0) if NUMBER in event.facts]
        self._after = int(taken[-1]) if taken else 0
        self._reached: bool | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._main, name="controller events", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()

    def take(self, wait: float) -> int:
        """Take what is new; how many events. Raises what the controller answered."""
        if self._reached is not True:
            newest = max([event.number for event in self._controller.events(0)], default=0)
            if newest < self._after:  # another controller, or its state began anew
                self._after = 0
        found = self._controller.events(self._after, wait)
        for event in found:
            facts = {**event.facts, NUMBER: event.number, TIME: event.time_ns}
            self._events.emit(event.level, event.name, event.message, facts, group=event.group)
            self._after = event.number
        return len(found)

    def _main(self) -> None:
        while not self._ended.is_set():
            try:
                self.take(WAIT_SECONDS if self._reached else 0.0)
                self._note(True, "the storage controller answers")
            except PairvolError as error:
                if self._ended.is_set():
                    return
                self._note(False, error.message)
                self._ended.wait(RETRY_SECONDS)
            except Exception:  # noqa: BLE001
                # The boundary of a thread: without it, events would cease to come and nobody would know.
                if self._ended.is_set():
                    return
                _log.exception("mistake in the program while taking the controller's events")
                self._ended.wait(RETRY_SECONDS)

    def _note(self, reached: bool, message: str) -> None:
        if reached is not self._reached and not (reached and self._reached is None):
            name = "controller.back" if reached else "controller.lost"
            self._events.emit("info" if reached else "error", name, message)
        self._reached = reached
