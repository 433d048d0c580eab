"""Notices when the machine's clock is set: a step back or ahead is an event.

Order never hangs on the clock, and the times in a journal never go back
(controller/volume/append.py). But the times that people read do follow it:
how far behind a site is, what `restore --at` means, when something happened.
So whoever reads them must be told. Owns a thread that compares the clock with
one that nobody sets; must not correct anything.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

from controller.events import Events
from controller.units import format_duration, format_time

BEAT_SECONDS: Final = 5.0
STEP_NS_MIN: Final = 500_000_000  # slewing moves both clocks; only steps tell them apart
READ_NS_MAX: Final = 50_000_000  # between two looks at the steady clock, for what the other says to be believed

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")

Nanoseconds = Callable[[], int]


def steady_ns() -> int:
    """Since the boot, with the time that the machine slept."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@cache
def boot() -> str | None:
    """Names this start of the machine, as the kernel does; None when it does not."""
    with suppress(OSError):
        return BOOT_ID.read_text().strip() or None
    return None


class ClockWatch:
    """`start` begins, `stop` ends it. `look` may be called by hand instead."""

    def __init__(
        self,
        events: Events,
        wall: Nanoseconds | None = None,
        steady: Nanoseconds = steady_ns,
        beat_seconds: float = BEAT_SECONDS,
    ) -> None:
        self._events = events
        self._wall = wall or time.time_ns
        self._steady = steady
        self._beat_seconds = beat_seconds
        self._offset_ns = self._offset()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._main, name="clock", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> int:
        """Compare now; the step since the last look in nanoseconds, 0 when there was none."""
        step_ns = self._offset() - self._offset_ns
        if abs(step_ns) < STEP_NS_MIN:
            return 0  # the reference stays, so that many small steps add up to one
        self._offset_ns += step_ns
        now_ns = self._wall()
        where = "ahead" if step_ns > 0 else "back"
        self._events.emit(
            "warning",
            "clock.step",
            f"the clock of this machine was set {where} by {format_duration(abs(step_ns) / 1e9)}, to"
            f" {format_time(now_ns)}; times and lags that are shown follow it, the order of journals does not",
            {"step_seconds": round(step_ns / 1e9, 3), "before_ns": now_ns - step_ns, "now_ns": now_ns},
        )
        return step_ns

    def _offset(self) -> int:
        """How far apart the clocks are; read again when this thread was kept waiting meanwhile."""
        while True:
            before = self._steady()
            wall = self._wall()
            after = self._steady()
            if after - before <= READ_NS_MAX:
                return wall - after

    def _main(self) -> None:
        while not self._ended.wait(self._beat_seconds):
            self.look()
