"""The history of a pair whose roles change: who wrote what under which generation, and what was answered when.

One host writes at a time, to one volume, and every write carries a number, so
the newest number that is seen in a volume says which state of which history
it should be, byte for byte. A history is named by the generation under which
it is written; it begins where another one stood at that takeover.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from controller.api.models import Role
from tests.support.stamps import NEVER_NS, SECTOR_BYTES, stamp

SNAPSHOT_EVERY = 32


@dataclass(frozen=True, slots=True)
class Written:
    """A write; numbers count through all histories."""

    number: int
    generation: int
    lba: int
    sectors: int
    direct: bool  # past the journal: until it is promised, each of its sectors may be there or not
    issued_ns: int

    @property
    def data(self) -> bytes:
        return stamp(0, self.lba, self.sectors, self.number)


@dataclass(slots=True)
class Act:
    """An order that changes what a site is. Until it is answered the site may be either."""

    site: str
    role: Role
    generation: int
    issued_ns: int
    answered_ns: int = NEVER_NS


@dataclass(frozen=True, slots=True)
class Standing:
    """What a site may be after a cut."""

    roles: set[tuple[Role | None, int]]
    settled: bool  # no order was under way


@dataclass
class Chronicle:
    """`fork` says where a history begins: (the one before, its last number)."""

    volume_bytes: int
    writes: list[Written] = field(default_factory=list)
    forks: dict[int, tuple[int, int]] = field(default_factory=dict)
    acts: list[Act] = field(default_factory=list)
    _durable: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    _kept: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    _unready: dict[str, list[list[int]]] = field(default_factory=dict)
    _snapshots: dict[tuple[int, int], bytearray] = field(default_factory=dict)

    # -- writing it down ------------------------------------------------------

    def issue(self, generation: int, lba: int, sectors: int, direct: bool) -> Written:
        write = Written(len(self.writes) + 1, generation, lba, sectors, direct, time.monotonic_ns())
        self.writes.append(write)
        return write

    def promise(self, generation: int) -> None:
        """Everything written under a generation is durable from now on, says its server."""
        self._durable.setdefault(generation, []).append((time.monotonic_ns(), self.newest(generation)))

    def keep(self, site: str, number: int) -> None:
        """A secondary has confirmed that much, and can be taken over with it from now on."""
        self._kept.setdefault(site, []).append((time.monotonic_ns(), number))

    def begin_act(self, site: str, role: Role, generation: int) -> Act:
        made = Act(site, role, generation, time.monotonic_ns())
        self.acts.append(made)
        return made

    @contextmanager
    def act(self, site: str, role: Role, generation: int) -> Iterator[None]:
        made = self.begin_act(site, role, generation)
        yield
        made.answered_ns = time.monotonic_ns()

    @contextmanager
    def unready(self, site: str) -> Iterator[None]:
        """Within this, a secondary has nothing consistent to be taken over with, and may say so."""
        window = [time.monotonic_ns(), int(NEVER_NS)]
        self._unready.setdefault(site, []).append(window)
        yield
        window[1] = time.monotonic_ns()

    def cut(self, before_ns: int) -> Chronicle:
        """What a cut at that moment left to be kept: orders that were under way stay open for ever."""
        acts = [replace(act) for act in self.acts if act.issued_ns < before_ns]
        for act in acts:
            if act.answered_ns >= before_ns:
                act.answered_ns = NEVER_NS
        unready = {
            site: [[low, high if high < before_ns else int(NEVER_NS)] for low, high in windows if low < before_ns]
            for site, windows in self._unready.items()
        }
        return Chronicle(
            self.volume_bytes,
            self.writes[: self.issued(before_ns)],
            dict(self.forks),
            acts,
            {key: [note for note in notes if note[0] < before_ns] for key, notes in self._durable.items()},
            {key: [note for note in notes if note[0] < before_ns] for key, notes in self._kept.items()},
            unready,
            self._snapshots,
        )

    # -- asking it ------------------------------------------------------------

    def newest(self, generation: int) -> int:
        """The last write of a history, or where it began."""
        own = (write.number for write in reversed(self.writes) if write.generation == generation)
        return next(own, self.forks.get(generation, (0, 0))[1])

    def begun(self, generation: int) -> int:
        return self.forks.get(generation, (0, 0))[1]

    def standing(self, site: str, before_ns: int) -> Standing:
        """What a site may be when power was cut at that moment."""
        answered: Act | None = None
        under_way: list[Act] = []
        for act in self.acts:
            if act.site == site and act.answered_ns < before_ns:
                answered, under_way = act, []
            elif act.site == site and act.issued_ns < before_ns:
                under_way.append(act)
        roles: set[tuple[Role | None, int]] = {(answered.role, answered.generation) if answered else (None, 0)}
        return Standing(roles | {(act.role, act.generation) for act in under_way}, not under_way)

    def may_refuse(self, site: str, before_ns: int) -> bool:
        return any(low < before_ns <= high for low, high in self._unready.get(site, []))

    def promised(self, generation: int, before_ns: int) -> int:
        """The newest write of a history that must be there."""
        return _last(self._durable.get(generation, []), before_ns, self.begun(generation))

    def kept(self, site: str, before_ns: int) -> int:
        return _last(self._kept.get(site, []), before_ns, 0)

    def issued(self, before_ns: int) -> int:
        return bisect_right(self.writes, before_ns, key=lambda write: write.issued_ns)

    def history_of(self, number: int) -> int:
        """The generation under which a write was made; 0 for none."""
        return self.writes[number - 1].generation if number else 0

    def follows(self, generation: int, number: int) -> bool:
        """Whether a write belongs to a history, or to what that began with."""
        while number <= self.begun(generation) and generation in self.forks:
            generation = self.forks[generation][0]
        return number == 0 or self.history_of(number) == generation

    def torn(self, generation: int, number: int, before_ns: int) -> list[Written]:
        """Direct writes of a history after `number`, of which a cut may leave any sectors."""
        return [w for w in self.writes[number : self.issued(before_ns)] if w.generation == generation and w.direct]

    def image(self, number: int) -> bytearray:
        """The volume when that write was the newest on it."""
        generation = self.history_of(number)
        own = self._lineage(generation, number)
        near = len(own) // SNAPSHOT_EVERY * SNAPSHOT_EVERY
        key = generation, near
        if key not in self._snapshots:
            self._snapshots[key] = self._replay(bytearray(self.volume_bytes), own[:near])
        return self._replay(bytearray(self._snapshots[key]), own[near:])

    def _lineage(self, generation: int, last: int) -> list[Written]:
        """The writes that make up a history up to one of them."""
        before = self._lineage(*self.forks[generation]) if generation in self.forks else []
        return before + [write for write in self.writes[:last] if write.generation == generation]

    @staticmethod
    def _replay(image: bytearray, writes: list[Written]) -> bytearray:
        for write in writes:
            at = write.lba * SECTOR_BYTES
            image[at : at + write.sectors * SECTOR_BYTES] = write.data
        return image


def _last(noted: list[tuple[int, int]], before_ns: int, otherwise: int) -> int:
    index = bisect_right(noted, (before_ns, 0))
    return noted[index - 1][1] if index else otherwise
