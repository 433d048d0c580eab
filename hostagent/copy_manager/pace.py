"""When each kind of action may be given, and how long nothing is to be done.

Owns retry and repetition, and is told the time. What it forgets with a crash
costs at most an action given once more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

RETRY_SECONDS_MIN: Final = 0.5
RETRY_SECONDS_MAX: Final = 4.0


@dataclass(slots=True)
class _Kind:
    under_way: bool = False
    last: float | None = None  # when it last ended well
    failures: int = 0
    not_before: float = 0.0  # after a failure


@dataclass(slots=True)
class Pace:
    """One for each manager. `begin` opens a step; within it, questions that are answered "not yet" are remembered."""

    _now: float = 0.0
    _kinds: dict[type, _Kind] = field(default_factory=dict)
    _wanted: set[str] = field(default_factory=set)
    _next: float | None = None

    def begin(self, seconds: float) -> None:
        self._now, self._next = seconds, None
        self._wanted.clear()

    @property
    def wanted(self) -> frozenset[str]:
        """The kinds of action that there was reason for in this step, due or not yet."""
        return frozenset(self._wanted)

    def reached(self, moment: float) -> bool:
        """Whether that moment has come; if not, the rest ends there at the latest."""
        if self._now >= moment:
            return True
        self._next = moment if self._next is None else min(self._next, moment)
        return False

    def due(self, kind: type, every: float = 0.0) -> bool:
        """Whether an action of this kind may be given now; if so it counts as under way until `ended`.

        Not while one is under way, not too soon after a failure, and not
        within `every` seconds of the last that ended well.
        """
        self._wanted.add(kind.__name__)
        known = self._kinds.setdefault(kind, _Kind())
        earliest = known.not_before
        if known.last is not None and every > 0 and known.failures == 0:
            earliest = max(earliest, known.last + every)
        if known.under_way or not self.reached(earliest):
            return False
        known.under_way = True
        return True

    def ended(self, kind: type, seconds: float, good: bool) -> None:
        """An action ended; after failures the next waits longer each time."""
        known = self._kinds.setdefault(kind, _Kind())
        known.under_way = False
        if good:
            known.last, known.failures, known.not_before = seconds, 0, 0.0
        else:
            known.failures += 1
            wait = min(RETRY_SECONDS_MAX, RETRY_SECONDS_MIN * 2 ** min(known.failures - 1, 10))
            known.not_before = seconds + wait

    def awaken(self) -> None:
        """Do not wait any longer for what failed or was done a moment ago."""
        for known in self._kinds.values():
            known.last, known.failures, known.not_before = None, 0, 0.0

    def rest_seconds(self, limit: float) -> float:
        """From the moment given to `begin` until something is due by time alone."""
        return limit if self._next is None else max(0.0, min(limit, self._next - self._now))
