"""The way into the journal: who may append now, in turn and for a limited time (I9).

A part of the journaled path (its mixin). Owns the gate, the queue of those who
wait, and the one flag that lets a write pass without asking any of it.
"""

from __future__ import annotations

import time
from collections import deque

from controller.volume.host_path import Refusal
from controller.volume.inband import FROZEN_MAX, InBand
from controller.volume.throttle import hold_back


class Entrance(InBand):
    """Lets appends in. Everything but the gate is for who holds the lock."""

    _busy: bool  # the fast way into the journal is barred: closed, failed, or others wait
    _waiting: deque[object]
    _full_wait_seconds: float
    _throttle: bool  # hold writes back as the journal fills

    def close_gate(self) -> None:
        with self._changed:
            self._closed = self._busy = True
            self.gates += 1
            self._changed.notify_all()

    def open_gate(self) -> None:
        with self._changed:
            self._closed = False

    def _enter(self, blocks: int, deadline: float | None = None) -> Refusal | None:
        """Wait until a record with that much data may be appended: in turn, and for a limited time (I9)."""
        self.check_failure()
        deadline = deadline or time.monotonic() + self._full_wait_seconds
        if self._throttle:
            hold_back(self._changed, self.appender, self._barred, self._full_wait_seconds)
        turn = object()
        self._waiting.append(turn)
        self._busy = True
        try:
            while True:
                self.check_failure()
                if self._closed:
                    return Refusal.SUPERSEDED
                if self.broken is not None:
                    return Refusal.BROKEN
                fits = self.appender.has_room(blocks)
                slow_store = self.overlay.frozen >= FROZEN_MAX
                if fits and not slow_store and self._waiting[0] is turn:
                    return None
                left = deadline - time.monotonic()
                if left <= 0 and not slow_store:  # a slow store is waited for like any disk
                    return Refusal.FULL
                if not fits and not self.destager.room_wanted:
                    self.destager.room_wanted = True
                    self._changed.notify_all()
                self._changed.wait(None if slow_store else left)
        finally:
            self._waiting.remove(turn)
            self.destager.room_wanted = False  # who waits on says so again
            if self._waiting:
                self._changed.notify_all()
            else:
                self._busy = self._barred()

    def _barred(self) -> bool:
        return bool(self._closed or self.broken or self.failure)
