"""How long journals have been missing at the secondary by the agent's own clock, which nobody sets.

The times in journals are the primary's wall clock. That may be set: ahead and
back again, and the newest journal's time lies in the future until the day
comes. So the agent also remembers when it saw how far the primary was. Pure;
`facts.py` tells it what was seen.
"""

from __future__ import annotations

from typing import Final

LOOKS_MAX: Final = 64


class Looks:
    """Looks at the primary that matter for what the secondary still lacks, oldest first."""

    def __init__(self) -> None:
        self._looks: list[tuple[int, float]] = []  # (newest journal there, seconds of a steady clock)

    def add(self, sequence: int, seconds: float) -> None:
        """At that moment the primary's newest journal was this one."""
        if self._looks and sequence < self._looks[-1][0]:
            self._looks.clear()  # it lost journals that were not durable: what comes now is another history
        if len(self._looks) >= 2 and self._looks[-2][0] == self._looks[-1][0] == sequence:
            self._looks.pop()  # the first and the last of one sequence say all
        self._looks.append((sequence, seconds))
        if len(self._looks) > LOOKS_MAX:
            del self._looks[1:-1:2]  # fewer looks between: what is said later is longer, never shorter

    def clear(self) -> None:
        self._looks.clear()

    def missing_seconds(self, read: int, now: float) -> float:
        """How long journals after `read` have been missing: since the last look that showed no newer one.

        Since the first look of all when there was none such. `now` is of the
        same clock as the looks.
        """
        covering = [index for index, (sequence, _) in enumerate(self._looks) if sequence <= read]
        if covering:
            del self._looks[: covering[-1]]
        return max(0.0, now - self._looks[0][1]) if self._looks else 0.0
