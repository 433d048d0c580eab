"""The controller of the secondary site with its copy and restore programs.

What must never happen is checked where it would happen, and raises ViolationError.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controller.api.lifecycle import ResyncOrder
from controller.api.models import (
    ChangedRegions,
    CopyMode,
    CopyOrder,
    CopyState,
    Failure,
    InitialCopy,
    InitialCopyOrder,
    JournalState,
    RestoreMode,
    RestoreRequest,
    Role,
)
from controller.errors import ConflictError
from controller.journal.pointers import Pointer
from tests.simulation.controller import Controller
from tests.simulation.primary import CAPACITY
from tests.simulation.timeline import ViolationError

if TYPE_CHECKING:
    from tests.simulation.primary import Primary

INITIAL_COPY_STEPS = 6
READ_STEP = 60
RESTORE_STEP = 80


@dataclass
class Secondary(Controller):
    """`other` is the primary, which the copy program reads."""

    read: int = 0  # already-read; durable, as all up to the next comment
    restored: int = 0
    copied_steps: int = 0
    copy_begun: bool = False
    copy_gap: int | None = None  # of the order that the copy obeys
    consistent: int | None = None
    copy_epoch: str | None = None  # whose changed regions the copy brings over
    pending: ChangedRegions | None = None  # ordered; its copy waits for restore to reach its sequence
    covers: int = 0  # copies stand for the markers up to here
    safe_point: int | None = None  # the consistent state that a takeover goes back to
    copy_runs: bool = False
    order: CopyOrder | None = None  # forgotten by a crash, as all below
    order_ends: float = 0.0
    restore_to: int = 0
    link_contact: float = 0.0
    link_ok: bool = True
    failure: Failure | None = None
    last_read_ns: int = 0
    taken_over_at: float = 0.0
    other: Primary = field(init=False, repr=False)

    @property
    def arrived(self) -> int:
        return self.read

    def crash(self, now: float, *, power: bool = False) -> None:
        self.up = False
        self.boots += power
        self.failure = None
        self.order, self.restore_to = None, 0  # a copy that runs is durable, and goes on by itself

    def disk_refuses(self) -> bool:
        """A sync of the journal fails: nothing is copied or restored any more, until the daemon starts anew."""
        works = self.role is Role.SECONDARY and self.failure is None
        if works:
            self.failure = Failure(error="StorageError", message="journal: input/output error", time_ns=1)
        return works

    def work(self, now: float, link_up: bool, chance: random.Random) -> None:
        """Some moments of the copy and restore programs."""
        if not self.up or self.role is not Role.SECONDARY or self.failure is not None:
            return
        primary = self.other
        if self.order is not None and now > self.order_ends:
            self.order = None
        if self.order is not None or self.copy_runs:
            self.link_ok = link_up
        if link_up:
            self.link_contact = now
            self._copy(primary, chance)
        if self.copy_begun or self.consistent is not None:
            goal = self.read if self.order and self.order.restore is RestoreMode.AT_ONCE else self.restore_to
            goal = min(goal, self.read, self.restored + chance.randint(0, RESTORE_STEP))
            barrier = min((at for at in primary.markers if self.covers < at <= self.read), default=None)
            self._restore_to(min(goal, barrier - 1) if barrier is not None else goal)
        self._begin_pending(primary)

    def _restore_to(self, sequence: int) -> None:
        self.restored = max(self.restored, sequence)
        if self.safe_point is not None and self.consistent is not None and self.restored >= self.consistent:
            self.safe_point = None

    def _begin_pending(self, primary: Primary) -> None:
        """The differential copy begins at once behind a copy that runs, and takes in what that had left.

        Else once restore can go no further without it: safe point first, when
        there is a consistent state to go back to.
        """
        if self.pending is None:
            return
        if not self.copy_runs and self.consistent is not None:
            wanted = max(self.pending.sequence, self.consistent)
            barred = any(at == self.restored + 1 for at in primary.markers if at > self.covers)
            if self.restored < wanted and not barred:
                self.restore_to = max(self.restore_to, wanted)  # the controller urges that itself
                return
            if self.restored >= self.consistent:
                passed = [at for at in primary.markers if self.covers < at <= self.restored]
                if passed:
                    raise ViolationError(f"restored past the marker {passed[0]} before the safe point was open")
                self.safe_point = self.restored
        self.copy_epoch, self.covers = self.pending.epoch, max(self.covers, self.pending.sequence + 1)
        self.consistent, self.copied_steps, self.copy_begun, self.copy_runs = None, 0, True, True
        self.pending = None

    def _copy(self, primary: Primary, chance: random.Random) -> None:
        if self.copy_runs:
            self.copied_steps += 1
            if self.copied_steps >= INITIAL_COPY_STEPS:
                self.copy_runs, self.consistent = False, primary.durable
        if self.order is None:
            return
        goal = primary.durable
        if self.order.mode is CopyMode.ONCE:
            goal = min(goal, self.order.to_sequence or goal)
        for sequence in range(self.read + 1, min(goal, self.read + chance.randint(1, READ_STEP)) + 1):
            primary.readable(sequence)
            self.read, self.last_read_ns = sequence, primary.times[sequence]
        if self.order.mode is CopyMode.ONCE and self.read >= goal:
            self.restore_to = self.read if self.order.restore is RestoreMode.AT_ONCE else self.restore_to
            self.order = None

    def state(self, now: float) -> JournalState:
        done = self.consistent is not None
        running = CopyState.RUNNING if self.copy_begun else CopyState.NONE
        return self.told(
            now,
            {
                Pointer.READ_SCHEDULED: (self.read + (50 if self.order else 0), 0),  # scheduled is not had
                Pointer.ALREADY_READ: (self.read, self.last_read_ns),
                Pointer.ALREADY_RESTORED: (self.restored, self.last_read_ns),
            },
            0,
            CAPACITY,
            initial_copy=InitialCopy(
                state=CopyState.RUNNING if self.pending else CopyState.DONE if done else running,
                bytes_done=self.copied_steps,
                gap_sequence=self.copy_gap,
                epoch=self.pending.epoch if self.pending else self.copy_epoch,
                pending=self.pending is not None,
            ),
            consistent_sequence=self.consistent,
            copy_order_active=self.order is not None,
            link_ok=self.link_ok,
            failure=self.failure,
            link_contact_ns=self.clock(self.link_contact),
            link_silent_seconds=now - self.link_contact,
        )

    def take_over(self, generation: int, now: float = 0.0) -> None:
        if self.role is not Role.TAKEN_OVER:
            self.taken_over_at = now
        self.role, self.generation, self.restored = Role.TAKEN_OVER, generation, self.read
        self.order, self.copy_runs = None, False

    # -- orders ------------------------------------------------------------------

    def order_order_initial_copy(self, now: float, group: str, order: InitialCopyOrder) -> JournalState:
        primary = self.other
        self._ordered(order.source.uuid, order.source.generation)
        if not primary.acquisition:
            raise ViolationError("initial copy was ordered before acquisition ran")
        if self.copy_gap != order.gap_sequence:
            self.copy_gap, self.consistent, self.copied_steps = order.gap_sequence, None, 0
            self.copy_epoch = self.pending = self.safe_point = None
            self.covers = max(self.covers, primary.durable)
        if not self.copy_begun:
            self.covers = max(self.covers, primary.durable)
        if self.consistent is None:
            self.copy_begun = self.copy_runs = True
        return self.state(now)

    def order_resync(self, now: float, group: str, order: ResyncOrder) -> JournalState:
        self._ordered(order.source.uuid, order.source.generation)
        if order.regions.epoch != self.copy_epoch:
            self.pending = order.regions
        return self.state(now)

    def order_order_copy(self, now: float, group: str, order: CopyOrder) -> JournalState:
        self._ordered(order.source.uuid, order.source.generation)
        self.order, self.order_ends = order, now + order.lease_seconds
        return self.state(now)

    def order_order_restore(self, now: float, group: str, request: RestoreRequest) -> JournalState:
        self._ordered(self.uuid, self.generation)
        if request.to_sequence is not None and request.to_sequence > self.read:
            raise ViolationError(f"restore to {request.to_sequence}, but only {self.read} was read")
        self.restore_to = max(self.restore_to, self.read if request.to_sequence is None else request.to_sequence)
        return self.state(now)

    def _ordered(self, uuid: str, generation: int) -> None:
        if self.role is not Role.SECONDARY:
            raise ConflictError("group db is taken over here")  # a crossing order; refused, no harm
        if uuid != self.uuid or generation != self.generation:
            raise ViolationError(f"ordered to copy generation {generation} into generation {self.generation}")
