"""The controller of the primary site, and the volume server that writes its journal: sequence numbers, no data.

What must never happen is checked where it would happen, and raises ViolationError.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controller.api.lifecycle import EpochOrder, ServeOrder
from controller.api.models import (
    AcquisitionMode,
    ChangedRegions,
    FenceRequest,
    Group,
    JournalState,
    PurgeRequest,
    Role,
    SuspendedCause,
)
from controller.errors import ConflictError, NotFoundError
from controller.journal.pointers import Pointer
from tests.simulation.controller import Controller
from tests.simulation.timeline import ViolationError

if TYPE_CHECKING:
    from tests.simulation.secondary import Secondary

CAPACITY = 300  # journals
FULL_WAIT_SECONDS = 10.0
WORD_SECONDS = 5.0  # the deadline of an exchange, a beat, and the deadline of the order


@dataclass
class Primary(Controller):
    """`other` is the secondary, for what must be true of both."""

    times: list[int] = field(default_factory=lambda: [0])  # by sequence
    durable: int = 0
    confirmed: int = 0
    acquisition: bool = True
    waiting_since: float | None = None
    suspended: bool = False
    cause: SuspendedCause = SuspendedCause.FULL
    gap: int | None = None
    awaits: bool = False  # was away: hosts are not served before word comes
    epoch: str | None = None  # of the changed regions, while there are some
    final: bool = False  # they stand still: journals are written again
    suspended_at: int = 0  # the last journal before they changed
    markers: dict[int, str] = field(default_factory=dict)  # "resumed", by sequence
    epochs: int = 0
    other: Secondary = field(init=False, repr=False)

    @property
    def arrived(self) -> int:
        return self.durable

    @property
    def newest(self) -> int:
        return len(self.times) - 1

    def host_writes(self, now: float, count: int) -> None:
        """Journal `count` writes; when there is no room wait, and suspend when that took too long."""
        if self.role is Role.FENCED or self.suspended or self.awaits:
            return
        room = CAPACITY - (self.newest - self.confirmed)
        self.times += [max(self.clock(now), self.times[-1])] * min(count, room)  # times of journals never go back
        if count <= room:
            self.waiting_since = None
        elif self.waiting_since is None:
            self.waiting_since = now
        elif now - self.waiting_since > FULL_WAIT_SECONDS:
            self._suspend(SuspendedCause.FULL)

    def _suspend(self, cause: SuspendedCause) -> None:
        self.suspended, self.final, self.suspended_at, self.cause = True, False, self.newest, cause
        self.epochs += 1
        self.epoch = f"epoch {self.epochs}"  # keeps what an earlier set had marked

    def disk_refuses(self) -> bool:
        """A write or a sync of the journal fails: what was not synced is not trusted, and writes go on beside it."""
        serves = self.role is Role.PRIMARY and self.acquisition and not self.suspended
        if serves:
            self.volume_server_crashes()
            self._suspend(SuspendedCause.ERROR)
        return serves

    def stop_and_start(self) -> None:
        """Acquisition was off for a moment: writes made then are in no journal."""
        if self.acquisition and self.role is Role.PRIMARY:
            self.gap, self.suspended, self.waiting_since = self.durable + 1, False, None
            self.epoch, self.final = None, False  # the whole copy that follows stands for them

    def resume(self) -> None:
        """Journals again; a marker tells, in band, that regions changed without them."""
        if self.role is not Role.PRIMARY or self.epoch is None:
            raise ConflictError("there is nothing to resume")
        if self.suspended and self.newest - self.confirmed > CAPACITY // 2:
            raise ConflictError("half of the journal must be free")
        if self.suspended:
            self.times.append(self.times[-1])
            self.markers[self.newest] = self.epoch
            self.suspended, self.final, self.waiting_since = False, True, None
            self.flush()

    def flush(self) -> None:
        self.durable = self.newest

    def volume_server_crashes(self) -> None:
        """What was acknowledged but not flushed may be gone with the power."""
        del self.times[self.durable + 1 :]

    def readable(self, sequence: int) -> None:
        """The secondary reads this journal: it must be durable and still there."""
        if sequence > self.durable:
            raise ViolationError(f"journal {sequence} was read before it was durable at the primary ({self.durable})")
        if sequence <= self.confirmed:
            raise ViolationError(f"journal {sequence} was purged (up to {self.confirmed}) before the secondary had it")

    def crash(self, now: float, *, power: bool = False) -> None:
        self.up = False
        self.boots += power
        if power:
            self.volume_server_crashes()
            self.awaits = self.role is Role.PRIMARY

    def state(self, now: float) -> JournalState:
        freed = (self.confirmed, self.times[self.confirmed])
        return self.told(
            now,
            {
                Pointer.JOURNAL_IN: (self.newest, self.times[-1]),
                Pointer.DURABLE: (self.durable, self.times[self.durable]),
                Pointer.CONFIRMED: freed,
                Pointer.JOURNAL_OUT: freed,
            },
            self.newest - self.confirmed,
            CAPACITY,
            mode=AcquisitionMode.SUSPENDED if self.suspended else AcquisitionMode.JOURNAL,
            awaits_serve=self.awaits,
            epoch=self.epoch,
            changes_final=self.final,
            suspended_cause=self.cause if self.epoch else None,
            dirty_bytes=1 << 20 if self.epoch else 0,
            acquisition=self.acquisition,
            gap_sequence=self.gap,
        )

    # -- orders ------------------------------------------------------------------

    def order_resume(self, now: float, group: str) -> JournalState:
        self.resume()
        return self.state(now)

    def order_regions(self, now: float, group: str) -> ChangedRegions:
        if self.epoch is None:
            raise NotFoundError("no changed regions")
        if not self.final:
            raise ConflictError("the changed regions are not final")
        return ChangedRegions(epoch=self.epoch, region_bytes=1 << 20, sequence=self.suspended_at, volumes={})

    def order_clear_epoch(self, now: float, group: str, order: EpochOrder) -> JournalState:
        secondary = self.other
        if order.epoch != self.epoch or not self.final:
            raise ConflictError(f"{order.epoch} is not the set of changed regions any more")
        if (
            secondary.copy_epoch != order.epoch
            or secondary.consistent is None
            or secondary.restored < secondary.consistent
        ):
            raise ViolationError(f"{order.epoch} was cleared before the secondary was consistent")
        self.epoch, self.final = None, False
        return self.state(now)

    def order_purge(self, now: float, group: str, request: PurgeRequest) -> JournalState:
        had = self.other.read
        if request.to_sequence > had:
            raise ViolationError(f"purge to {request.to_sequence}, but the secondary has only {had} durably")
        if request.to_sequence > self.durable:
            raise ConflictError(f"journal {request.to_sequence} is not here")
        self.confirmed = max(self.confirmed, request.to_sequence)
        return self.state(now)

    def order_fence(self, now: float, group: str, request: FenceRequest) -> Group:
        secondary = self.other
        if secondary.role is not Role.TAKEN_OVER or request.generation != secondary.generation:
            raise ViolationError(f"fenced for generation {request.generation}, which nobody serves")
        self.flush()
        self.role = Role.FENCED
        return self.group()

    def order_serve(self, now: float, group: str, order: ServeOrder) -> JournalState:
        secondary = self.other
        if order.generation != self.generation or self.role is not Role.PRIMARY:
            raise ConflictError(f"cannot serve under generation {order.generation}")
        # Word of the other site may be as old as its silence may last; a takeover in that time cannot be known.
        if secondary.role is Role.TAKEN_OVER and now - secondary.taken_over_at > WORD_SECONDS:
            raise ViolationError("a primary that came back was told to serve, and the other site serves")
        self.awaits = False
        return self.state(now)
