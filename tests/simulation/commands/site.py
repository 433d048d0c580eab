"""One site's controller and volume, small enough to be obviously right; it may have any role.

A volume is a few regions, each of which holds one number. What must never
happen is checked where it would happen, and raises ViolationError: `Truth`
knows what every primary's volume held after every journal.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from controller.api.models import (
    ChangedRegions,
    CopyState,
    Role,
    SplitMode,
    SuspendedCause,
)
from controller.errors import ConflictError
from tests.simulation.controller import Controller
from tests.simulation.timeline import ViolationError, wall

REGIONS = 5
CAPACITY = 60  # journals
FULL_WAIT_SECONDS = 3.0
ALONE_SECONDS = 20.0

Content = tuple[int, ...]


@dataclass
class Truth:
    """What no site knows."""

    numbers: int = 0
    after: dict[tuple[int, int], Content] = field(default_factory=dict)  # by generation and journal
    writers: dict[int, str] = field(default_factory=dict)  # who served writes under a generation
    latest: list[int] = field(default_factory=lambda: [0] * REGIONS)  # acknowledged last
    sets: dict[str, frozenset[int]] = field(default_factory=dict)  # changed regions as they were told, by epoch
    lost: bool = False  # a takeover, or taking one back, left writes behind
    taken_back: int = 0  # how often the old primary was kept
    force_given: bool = False  # a person gave writes up
    epochs: int = 0

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    def epoch(self) -> str:
        self.epochs += 1
        return f"epoch {self.epochs}"

    def serves(self, site: str, generation: int) -> None:
        first = self.writers.setdefault(generation, site)
        if first != site:
            raise ViolationError(f"{first} and {site} both served writes under generation {generation}")


@dataclass(frozen=True)
class Journal:
    sequence: int
    generation: int
    region: int = 0
    number: int = 0
    marker: str | None = None  # "resumed", of that epoch
    time_ns: int = 0


@dataclass
class Map:
    """Regions that changed without journals."""

    epoch: str
    position: int
    cause: SuspendedCause
    regions: set[int] = field(default_factory=set)
    final: bool = False
    covered: int = 0


@dataclass
class SiteBase(Controller):
    """What is durable, and what a crash forgets."""

    truth: Truth = field(kw_only=True)
    content: list[int] = field(default_factory=lambda: [0] * REGIONS)
    journals: dict[int, Journal] = field(default_factory=dict)
    map: Map | None = None
    acquisition: bool = False
    # of a primary
    newest: int = 0
    confirmed: int = 0
    quiesced: bool = False
    yields_to: int | None = None
    awaits: bool = False
    alone_at: float = 0.0
    waiting_since: float | None = None
    fenced_by: int = 0
    # of a secondary
    read: int = 0
    restored: int = 0
    split: SplitMode = SplitMode.OFF
    state_of_copy: CopyState = CopyState.NONE
    copy_epoch: str | None = None
    todo: list[int] = field(default_factory=list)
    skips: int = 0  # a whole copy stands for the journals up to here
    whole: bool = False  # a copy of everything that has not read its first window
    consistent: int | None = None
    pending: ChangedRegions | None = None
    covers: int = 0
    own_epoch: str | None = None
    safe: tuple[int, Content] | None = None
    orphans: int = 0
    took_all: bool = True  # the last takeover here left nothing behind
    went_back: bool = False  # to its safe point, in that takeover
    # forgotten by a crash
    order_ends: float = 0.0
    source: tuple[str, int] | None = None
    urged: int = 0
    contact: float = 0.0
    link_ok: bool | None = None

    @property
    def arrived(self) -> int:
        return self.read if self.role is Role.SECONDARY else self.newest

    @property
    def suspended(self) -> bool:
        return self.map is not None and not self.map.final

    @property
    def serves(self) -> bool:
        """Whether hosts may write here."""
        if self.role is Role.PRIMARY:
            return not self.quiesced and not self.awaits
        return self.role is Role.TAKEN_OVER or (self.role is Role.SECONDARY and self.split is SplitMode.WRITE)

    # -- hosts --------------------------------------------------------------------

    def host_writes(self, now: float, count: int, chance: random.Random) -> None:
        if self.awaits and now >= self.alone_at:
            self.awaits = False
        if not self.serves:
            return
        for _ in range(count):
            region, number = chance.randrange(REGIONS), self.truth.number()
            if self.role is Role.SECONDARY:
                assert self.map is not None
                self.map.regions.add(region)
                self.content[region] = number  # a resync throws it away, as was ordered
                continue
            if self.suspended:
                assert self.map is not None
                self.map.regions.add(region)
            elif not self._append(now, Journal(self.newest + 1, self.generation, region, number, time_ns=wall(now))):
                return
            self.truth.serves(self.name, self.generation)
            self.content[region] = self.truth.latest[region] = number
            self._remember()

    def _append(self, now: float, journal: Journal) -> bool:
        if self.newest - self.confirmed < CAPACITY:
            self.newest += 1
            self.journals[self.newest] = journal
            self.waiting_since = None
            return True
        if self.waiting_since is None:
            self.waiting_since = now
        elif now - self.waiting_since > FULL_WAIT_SECONDS:
            self.suspend(SuspendedCause.FULL)
        return False

    def _remember(self) -> None:
        if not self.suspended:
            self.truth.after[self.generation, self.newest] = tuple(self.content)

    def suspend(self, cause: SuspendedCause) -> None:
        if self.map is None:
            self.map = Map(self.truth.epoch(), self.newest, cause)
        elif self.map.final:
            self.map.final, self.map.position, self.map.cause = False, self.newest, cause
            self.map.epoch = self.truth.epoch()
        self.waiting_since = None

    def resume(self, now: float) -> None:
        if self.map is None:
            raise ConflictError("there is nothing to resume")
        if self.map.final:
            return
        if self.newest - self.confirmed > CAPACITY // 2:
            raise ConflictError("half of the journal must be free")
        self.map.final = True
        self.newest += 1
        self.journals[self.newest] = Journal(self.newest, self.generation, marker=self.map.epoch, time_ns=wall(now))
        self._remember()

    # -- crashes ------------------------------------------------------------------

    def crash(self, now: float, *, power: bool = False) -> None:
        self.up = False
        self.boots += power
        self.order_ends, self.source, self.urged, self.link_ok = 0.0, None, 0, None
        if power and self.role is Role.PRIMARY:
            self.awaits, self.alone_at = True, now + ALONE_SECONDS
