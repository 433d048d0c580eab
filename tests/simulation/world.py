"""Two storage controllers and a network, small enough to be obviously right.

Each controller keeps what is durable apart from what a crash forgets. What
must never happen is checked where it would happen, and raises ViolationError.
Time is a number that the history moves; nothing here reads a clock.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from controller.api.lifecycle import EpochOrder, ResyncOrder, ServeOrder
from controller.api.models import (
    AcquisitionMode,
    ChangedRegions,
    Composition,
    CopyMode,
    CopyOrder,
    CopyState,
    FenceRequest,
    Group,
    GroupVolume,
    InitialCopy,
    InitialCopyOrder,
    JournalState,
    Links,
    Position,
    PurgeRequest,
    RestoreMode,
    RestoreRequest,
    Role,
    ServerState,
    SuspendedCause,
)
from controller.errors import ConflictError, NotFoundError
from controller.journal.pointers import Pointer

CAPACITY = 300  # journals
FULL_WAIT_SECONDS = 10.0
WORD_SECONDS = 5.0  # the deadline of an exchange, a beat, and the deadline of the order
INITIAL_COPY_STEPS = 6
READ_STEP = 60
RESTORE_STEP = 80
EPOCH_NS = 1_700_000_000_000_000_000
COMPOSITION = Composition(
    journal_uuid="j", metadata_head_lba=8, metadata_block_count=64, data_head_lba=72, data_block_count=1024
)


class ViolationError(AssertionError):
    """Something happened that must never happen."""


def wall(seconds: float) -> int:
    return EPOCH_NS + round(seconds * 1e9)


@dataclass
class Site:
    """What both controllers have in common. `up` is the daemon; its volume server lives on without it."""

    name: str
    peer: str
    role: Role
    uuid: str
    up: bool = True
    generation: int = 1  # durable

    def base_state(self, now: float, pointers: dict[Pointer, tuple[int, int]]) -> JournalState:
        return JournalState.model_construct(
            group="db",
            uuid=self.uuid,
            role=self.role,
            generation=self.generation,
            time_ns=wall(now),
            mode=AcquisitionMode.DIRECT,
            acquisition=False,
            pointers={
                name.value: Position.model_construct(sequence=sequence, data_position=sequence * 8, time_ns=time_ns)
                for name, (sequence, time_ns) in pointers.items()
            },
            records_used=0,
            records_capacity=CAPACITY,
            data_used_bytes=0,
            data_capacity_bytes=CAPACITY * 4096,
            fill_percent=0.0,
            initial_copy=InitialCopy(),
            consistent_sequence=None,
            copy_order_active=False,
            link_ok=None,
            link_contact_ns=0,
            failure=None,
            awaits_serve=False,
            quiesced=False,
            suspended_cause=None,
            volume_server=ServerState.RUNNING,
            journal_server=ServerState.RUNNING,
        )


@dataclass
class Primary(Site):
    """The controller of the primary site and the volume server that writes its journal."""

    times: list[int] = field(default_factory=lambda: [0])  # by sequence
    durable: int = 0
    confirmed: int = 0
    acquisition: bool = True
    waiting_since: float | None = None
    suspended: bool = False
    gap: int | None = None
    awaits: bool = False  # was away: hosts are not served before word comes
    epoch: str | None = None  # of the changed regions, while there are some
    final: bool = False  # they stand still: journals are written again
    suspended_at: int = 0  # the last journal before they changed
    markers: dict[int, str] = field(default_factory=dict)  # "resumed", by sequence
    epochs: int = 0

    @property
    def newest(self) -> int:
        return len(self.times) - 1

    def host_writes(self, now: float, count: int) -> None:
        """Journal `count` writes; when there is no room wait, and suspend when that took too long."""
        if self.role is Role.FENCED or self.suspended or self.awaits:
            return
        room = CAPACITY - (self.newest - self.confirmed)
        self.times += [wall(now)] * min(count, room)
        if count <= room:
            self.waiting_since = None
        elif self.waiting_since is None:
            self.waiting_since = now
        elif now - self.waiting_since > FULL_WAIT_SECONDS:
            self.suspended, self.final, self.suspended_at = True, False, self.newest
            self.epochs += 1
            self.epoch = f"epoch {self.epochs}"  # keeps what an earlier set had marked

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

    def regions(self) -> ChangedRegions:
        if self.epoch is None:
            raise NotFoundError("no changed regions")
        if not self.final:
            raise ConflictError("the changed regions are not final")
        return ChangedRegions(epoch=self.epoch, region_bytes=1 << 20, sequence=self.suspended_at, volumes={})

    def clear_epoch(self, order: EpochOrder, secondary: Secondary) -> None:
        if order.epoch != self.epoch or not self.final:
            raise ConflictError(f"{order.epoch} is not the set of changed regions any more")
        if (
            secondary.copy_epoch != order.epoch
            or secondary.consistent is None
            or secondary.restored < secondary.consistent
        ):
            raise ViolationError(f"{order.epoch} was cleared before the secondary was consistent")
        self.epoch, self.final = None, False

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

    def state(self, now: float) -> JournalState:
        state = self.base_state(
            now,
            {
                Pointer.JOURNAL_IN: (self.newest, self.times[-1]),
                Pointer.DURABLE: (self.durable, self.times[self.durable]),
                Pointer.CONFIRMED: (self.confirmed, self.times[self.confirmed]),
                Pointer.JOURNAL_OUT: (self.confirmed, self.times[self.confirmed]),
            },
        )
        used = self.newest - self.confirmed
        state.mode = AcquisitionMode.SUSPENDED if self.suspended else AcquisitionMode.JOURNAL
        state.awaits_serve = self.awaits
        state.epoch, state.changes_final = self.epoch, self.final
        state.suspended_cause = SuspendedCause.FULL if self.epoch else None
        state.dirty_bytes = 1 << 20 if self.epoch else 0
        state.acquisition, state.gap_sequence = self.acquisition, self.gap
        state.records_used, state.fill_percent = used, 100.0 * used / CAPACITY
        return state

    def group(self) -> Group:
        return Group.model_construct(
            name="db",
            uuid=self.uuid,
            role=self.role,
            generation=self.generation,
            peer_site=self.peer,
            volumes=[GroupVolume(index=0, name="data", size_bytes=4096)],
            journal_path="/j",
            journal_bytes=1,
            journal_visible=False,
            composition=COMPOSITION,
            links=Links(journal_uri="nbd://j", pointers_uri="nbd://p", volume_uris={"0": "nbd://v"}),
            acquisition=self.acquisition,
        )

    def purge(self, request: PurgeRequest, secondary: Secondary) -> None:
        if request.to_sequence > secondary.read:
            raise ViolationError(f"purge to {request.to_sequence}, but the secondary has only {secondary.read} durably")
        if request.to_sequence > self.durable:
            raise ConflictError(f"journal {request.to_sequence} is not here")
        self.confirmed = max(self.confirmed, request.to_sequence)

    def fence(self, request: FenceRequest, secondary: Secondary) -> None:
        if secondary.role is not Role.TAKEN_OVER or request.generation != secondary.generation:
            raise ViolationError(f"fenced for generation {request.generation}, which nobody serves")
        self.flush()
        self.role = Role.FENCED

    def serve(self, order: ServeOrder, now: float, secondary: Secondary) -> None:
        if order.generation != self.generation or self.role is not Role.PRIMARY:
            raise ConflictError(f"cannot serve under generation {order.generation}")
        # Word of the other site may be as old as its silence may last; a takeover in that time cannot be known.
        if secondary.role is Role.TAKEN_OVER and now - secondary.taken_over_at > WORD_SECONDS:
            raise ViolationError("a primary that came back was told to serve, and the other site serves")
        self.awaits = False


@dataclass
class Secondary(Site):
    """The controller of the secondary site with its copy and restore programs."""

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
    last_read_ns: int = 0
    taken_over_at: float = 0.0

    def crash(self) -> None:
        self.up = False
        self.order, self.restore_to = None, 0  # a copy that runs is durable, and goes on by itself

    def work(self, now: float, primary: Primary, link_up: bool, chance: random.Random) -> None:
        """Some moments of the copy and restore programs."""
        if not self.up or self.role is not Role.SECONDARY:
            return
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

    def resync(self, order: ResyncOrder) -> None:
        self._ordered(order.source.uuid, order.source.generation)
        if order.regions.epoch != self.copy_epoch:
            self.pending = order.regions

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
        state = self.base_state(
            now,
            {
                Pointer.READ_SCHEDULED: (self.read + (50 if self.order else 0), 0),  # scheduled is not had
                Pointer.ALREADY_READ: (self.read, self.last_read_ns),
                Pointer.ALREADY_RESTORED: (self.restored, self.last_read_ns),
            },
        )
        done = self.consistent is not None
        running = CopyState.RUNNING if self.copy_begun else CopyState.NONE
        state.initial_copy = InitialCopy(
            state=CopyState.RUNNING if self.pending else CopyState.DONE if done else running,
            bytes_done=self.copied_steps,
            gap_sequence=self.copy_gap,
            epoch=self.pending.epoch if self.pending else self.copy_epoch,
            pending=self.pending is not None,
        )
        state.consistent_sequence = self.consistent
        state.copy_order_active = self.order is not None
        state.link_ok, state.link_contact_ns = self.link_ok, wall(self.link_contact)
        return state

    def take_over(self, generation: int, now: float = 0.0) -> None:
        if self.role is not Role.TAKEN_OVER:
            self.taken_over_at = now
        self.role, self.generation, self.restored = Role.TAKEN_OVER, generation, self.read
        self.order, self.copy_runs = None, False

    def initial_copy(self, order: InitialCopyOrder, primary: Primary) -> None:
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

    def copy(self, order: CopyOrder, now: float) -> None:
        self._ordered(order.source.uuid, order.source.generation)
        self.order, self.order_ends = order, now + order.lease_seconds

    def restore(self, request: RestoreRequest) -> None:
        self._ordered(self.uuid, self.generation)
        if request.to_sequence is not None and request.to_sequence > self.read:
            raise ViolationError(f"restore to {request.to_sequence}, but only {self.read} was read")
        self.restore_to = max(self.restore_to, self.read if request.to_sequence is None else request.to_sequence)

    def _ordered(self, uuid: str, generation: int) -> None:
        if self.role is not Role.SECONDARY:
            raise ConflictError("group db is taken over here")  # a crossing order; refused, no harm
        if uuid != self.uuid or generation != self.generation:
            raise ViolationError(f"ordered to copy generation {generation} into generation {self.generation}")
