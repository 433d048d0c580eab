"""The only clock of the agent; everything that decides is handed what it says."""

from __future__ import annotations

import time

from hostagent.copy_manager.side import Instant


def now() -> Instant:
    return Instant(time.monotonic(), time.time_ns())
