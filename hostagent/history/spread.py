"""How a quantity was distributed over time, in a few numbers that can be added up.

Owns the buckets: each is a twelfth wider than the one below it, so that a
percentile is at most 9 % too large and never too small; the maximum is exact.
Pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

STEPS: Final = 8  # buckets for each doubling
ZERO: Final = -1


@dataclass(slots=True)
class Spread:
    """Seconds that a quantity spent in each bucket; `floor` is what is told apart from nothing."""

    floor: float
    max: float = 0.0
    weights: dict[int, float] = field(default_factory=dict)

    @property
    def total(self) -> float:
        return math.fsum(self.weights.values())

    def add(self, value: float, seconds: float) -> None:
        """It was `value` for so long."""
        bucket = ZERO if value <= 0 else max(0, math.ceil(STEPS * math.log2(value / self.floor)))
        self.weights[bucket] = self.weights.get(bucket, 0.0) + seconds
        self.max = max(self.max, value)

    def merge(self, weights: Mapping[int, float], largest: float) -> None:
        """Add what another one counted."""
        for bucket, seconds in weights.items():
            self.weights[bucket] = self.weights.get(bucket, 0.0) + seconds
        self.max = max(self.max, largest)

    def percentile(self, share: float) -> float | None:
        """It was at most this for `share` of the time; None when it was never looked at."""
        wanted, found = share * self.total, 0.0
        for bucket in sorted(self.weights):
            found += self.weights[bucket]
            if found >= wanted * (1 - 1e-9) and found > 0:
                return 0.0 if bucket == ZERO else min(self.max, self.floor * 2 ** (bucket / STEPS))
        return self.max if self.weights else None
