"""How long journals have been missing at the secondary by the agent's own clock, which nobody sets.

The times in journals are the primary's wall clock. That may be set: ahead and
back again, and the newest journal's time lies in the future until the day
comes. So the agent also remembers when it saw how far the primary was. Pure;
`facts.py` tells it what was seen.

| a look at the primary showed | and by now the secondary has read | it says that |
|---|---|---|
| all writes in journals up to n | n or more | at that moment nothing was missing: no more than since then |
| journals up to n | less than n | at that moment some were missing: since then at least |
| journals up to n, and changes in none | n or less | the same |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

LOOKS_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Missing:
    """For how many seconds the agent knows something to be missing, and for how many at most; None: nobody knows."""

    at_least: float = 0.0
    at_most: float | None = None


UNSEEN: Final = Missing()


class _Look(NamedTuple):
    sequence: int  # newest journal there
    whole: bool  # every write taken by then is in a journal
    seconds: float  # of a steady clock

    @property
    def end(self) -> int:
        """Who has read so far has everything that was seen; what is in no journal comes behind the last one."""
        return self.sequence if self.whole else self.sequence + 1


class Looks:
    """Looks at the primary that matter for what the secondary still lacks, oldest first."""

    def __init__(self) -> None:
        self._looks: list[_Look] = []

    def add(self, sequence: int, seconds: float, *, whole: bool = True) -> None:
        """At that moment the primary's newest journal was this one; not `whole`: it took writes into none.

        It may be an older one than before: the primary lost journals that were not durable. Those before
        them are missing since when they were, and of those that come in their place too much is said.
        """
        look = _Look(sequence, whole, seconds)
        if len(self._looks) >= 2 and self._looks[-2][:2] == self._looks[-1][:2] == look[:2]:
            self._looks.pop()  # the first and the last of one kind say all
        self._looks.append(look)
        if len(self._looks) > LOOKS_MAX:
            del self._looks[1:-1:2]  # fewer looks between: what is said later has a wider margin

    def clear(self) -> None:
        self._looks.clear()

    def missing(self, read: int, now: float) -> Missing:
        """How long something after journal `read` has been missing, when something is.

        `now` is of the same clock as the looks.
        """
        covering = [index for index, look in enumerate(self._looks) if look.whole and look.sequence <= read]
        if covering:
            del self._looks[: covering[-1]]
        return Missing(
            at_least=max(0.0, now - next((look.seconds for look in self._looks if look.end > read), now)),
            at_most=max(0.0, now - self._looks[0].seconds) if covering else None,
        )
