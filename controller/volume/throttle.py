"""How long a host write is held back while the journal is nearly full.

Owns the curve. Below the mark nothing is held back, and nothing is asked: the
journal says that a write does not fit, and only then is the way here. Above
it each write waits a little, and the more the fuller the journal is, so that
writers slow down to what the other site takes and no single write waits long.
While the other site takes nothing at all, writes are not held back for it.
Knows nothing of what happens when it is full.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

MARK_SHARE: Final = 0.8  # of the journal; as the high-water mark of the agents
HELD_SECONDS_MAX: Final = 1.0  # just before it is full


class Filling(Protocol):
    """What is asked of a journal."""

    released_seconds: float  # of the monotonic clock, when space was last given back

    @property
    def fill_share(self) -> float: ...


def held_seconds(fill_share: float) -> float:
    """How long a write is held back at this fill; grows with its square above the mark."""
    above = (min(fill_share, 1.0) - MARK_SHARE) / (1.0 - MARK_SHARE)
    return HELD_SECONDS_MAX * above * above if above > 0.0 else 0.0


def hold_back(
    changed: threading.Condition, journal: Filling, ended: Callable[[], bool], patience_seconds: float
) -> None:
    """Wait, `changed` held, as long as the fill says now and later.

    Not once `ended`, nor when no space was given back for `patience_seconds`:
    the other site takes nothing, and no slowness of the writers helps.
    """
    began = time.monotonic()
    while not ended() and time.monotonic() - journal.released_seconds < patience_seconds:
        left = began + held_seconds(journal.fill_share) - time.monotonic()
        if left <= 0:
            return
        changed.wait(left)
