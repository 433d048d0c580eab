"""What a growing pair was told and answered, and when: one host, several volumes, one count of writes over all.

Owns what each site may be after a cut at any moment. A fact is a word of a
site's state (a length, the members, the journal's size); an order that was
under way leaves it as before or as ordered, never anything else.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from controller.appliance import Appliance
from tests.support.stamps import NEVER_NS, SECTOR_BYTES, stamp

Order = Callable[[Appliance], Any]


@dataclass(frozen=True, slots=True)
class Sent:
    """A write that a host sent."""

    number: int
    volume: int
    lba: int
    sectors: int
    issued_ns: int

    @property
    def data(self) -> bytes:
        return stamp(self.volume, self.lba, self.sectors, self.number)


@dataclass(slots=True)
class Change:
    """An order that changes a fact of a site; `order` gives it again to a controller in this process."""

    site: str
    fact: str
    value: object
    order: Order | None
    issued_ns: int
    answered_ns: int = int(NEVER_NS)


@dataclass
class Notes:
    """`facts` are those at the beginning: (site, fact) -> value."""

    facts: dict[tuple[str, str], object] = field(default_factory=dict)
    writes: list[Sent] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    begun_ns: int = 0  # cuts before that are none of ours
    copied_ns: int = int(NEVER_NS)  # the initial copy was reported done
    joined: tuple[int, int] = (int(NEVER_NS), int(NEVER_NS))  # the epoch of the join was ordered cleared, was cleared
    _durable: list[tuple[int, int]] = field(default_factory=list)
    _kept: list[tuple[int, int]] = field(default_factory=list)

    # -- writing it down ------------------------------------------------------

    def issue(self, volume: int, lba: int, sectors: int) -> Sent:
        write = Sent(len(self.writes) + 1, volume, lba, sectors, time.monotonic_ns())
        self.writes.append(write)
        return write

    def promise(self) -> None:
        """A flush was answered: everything written so far is durable."""
        self._durable.append((time.monotonic_ns(), len(self.writes)))

    def keep(self, number: int) -> None:
        """The secondary confirmed that much."""
        self._kept.append((time.monotonic_ns(), number))

    @contextmanager
    def change(self, site: str, fact: str, value: object, order: Order | None = None) -> Iterator[Change]:
        made = Change(site, fact, value, order, time.monotonic_ns())
        self.changes.append(made)
        yield made
        made.answered_ns = time.monotonic_ns()

    # -- asking it ------------------------------------------------------------

    def allowed(self, site: str, fact: str, at_ns: int) -> set[object]:
        """What a fact of a site may be after a cut at that moment."""
        values = {self.facts[site, fact]} if (site, fact) in self.facts else set[object]()
        for change in self._of(site, at_ns):
            if change.fact == fact:
                values = {change.value} if change.answered_ns < at_ns else values | {change.value}
        return values

    def latest(self, site: str, at_ns: int) -> Change | None:
        """The last order that a site got."""
        return next(reversed(self._of(site, at_ns)), None)

    def facts_of(self, site: str) -> list[str]:
        return [fact for where, fact in self.facts if where == site]

    def _of(self, site: str, at_ns: int) -> list[Change]:
        return [change for change in self.changes if change.site == site and change.issued_ns < at_ns]

    def issued(self, at_ns: int) -> int:
        return bisect_right(self.writes, at_ns, key=lambda write: write.issued_ns)

    def promised(self, at_ns: int) -> int:
        return _last(self._durable, at_ns)

    def kept(self, at_ns: int) -> int:
        return _last(self._kept, at_ns)

    @property
    def last_kept_ns(self) -> int:
        return self._kept[-1][0]

    def image(self, volume: int, number: int, size_bytes: int) -> bytes:
        """A volume when that write was the newest of all."""
        made = bytearray(size_bytes)
        for write in self.writes[:number]:
            if write.volume == volume:
                at = write.lba * SECTOR_BYTES
                made[at : at + write.sectors * SECTOR_BYTES] = write.data
        return bytes(made[:size_bytes])


def _last(noted: list[tuple[int, int]], at_ns: int) -> int:
    index = bisect_right(noted, (at_ns, 0))
    return noted[index - 1][1] if index else 0
