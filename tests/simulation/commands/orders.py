"""What a controller answers to orders: controller/LIFECYCLE.md in a few lines each.

A method's name is that of the controller's client; `now` comes first.
"""

from __future__ import annotations

from controller.api.drills import Drill
from controller.api.lifecycle import (
    DemoteOrder,
    DemoteResult,
    EpochOrder,
    PromoteOrder,
    ResyncOrder,
    ServeOrder,
    SplitOrder,
    SuspendOrder,
)
from controller.api.models import (
    AcquisitionOrder,
    ChangedRegions,
    CopyOrder,
    CopySource,
    CopyState,
    FenceRequest,
    Group,
    InitialCopyOrder,
    JournalState,
    Position,
    PurgeRequest,
    RestoreRequest,
    Role,
    SplitMode,
    SuspendedCause,
    TakeoverRequest,
    TakeoverResult,
)
from controller.errors import ConflictError, NotFoundError
from tests.simulation.commands.site import REGIONS, Map
from tests.simulation.commands.told import Told
from tests.simulation.timeline import ViolationError


class Site(Told):
    """The orders. `other` is the other site, for what a copy reads and what must be true of both."""

    other: Site

    def _need(self, *roles: Role) -> None:
        if self.role not in roles:
            raise ConflictError(f"group db is {self.role} here", hint="Give this order to the other site.")

    def order_drills(self, now: float, group: str | None = None) -> list[Drill]:
        return []

    # -- of a primary ----------------------------------------------------------------

    def order_set_acquisition(self, now: float, group: str, order: AcquisitionOrder) -> JournalState:
        self._need(Role.PRIMARY)
        self.acquisition = order.on
        return self.state(now)

    def order_purge(self, now: float, group: str, request: PurgeRequest) -> JournalState:
        self._need(Role.PRIMARY)
        if request.reader != self.peer:
            raise ConflictError(f"{request.reader} is not a reader of group db")
        if request.to_sequence > self.newest:
            raise ConflictError("a reader never has more than is durable here")
        self.confirmed = max(self.confirmed, request.to_sequence)
        return self.state(now)

    def order_serve(self, now: float, group: str, order: ServeOrder) -> JournalState:
        self._need(Role.PRIMARY)
        if order.generation != self.generation:
            raise ConflictError(f"cannot serve under generation {order.generation}")
        if order.on and self.yields_to is not None and order.successor != self.yields_to:
            raise ConflictError(f"it refuses writes for a takeover of generation {self.yields_to}")
        self.quiesced, self.awaits = not order.on, False
        self.yields_to = None if order.on else order.successor or self.yields_to
        return self.state(now)

    def order_suspend(self, now: float, group: str, order: SuspendOrder) -> JournalState:
        self._need(Role.PRIMARY)
        if not self.suspended:
            self.suspend(order.cause)
        return self.state(now)

    def order_resume(self, now: float, group: str) -> JournalState:
        self._need(Role.PRIMARY)
        self.resume(now)
        return self.state(now)

    def order_regions(self, now: float, group: str) -> ChangedRegions:
        if self.map is None:
            raise NotFoundError("group db has no changed regions")
        if self.role is not Role.SECONDARY and not self.map.final:
            raise ConflictError("the changed regions of group db are not final")
        self.truth.sets[self.map.epoch] = frozenset(self.map.regions)
        return ChangedRegions(
            epoch=self.map.epoch,
            region_bytes=1 << 20,
            sequence=self.map.position,
            covered_sequence=self.map.covered,
            volumes={},
        )

    def order_clear_epoch(self, now: float, group: str, order: EpochOrder) -> JournalState:
        self._need(Role.PRIMARY)
        if self.map is None or self.map.epoch != order.epoch or not self.map.final:
            raise ConflictError(f"{order.epoch} is not the set of changed regions any more")
        self.map = None
        return self.state(now)

    def order_fence(self, now: float, group: str, request: FenceRequest) -> Group:
        if self.role is Role.FENCED:
            self.fenced_by = max(self.fenced_by, request.generation)
            return self.group()
        if self.role is Role.SECONDARY or request.generation <= self.generation:
            raise ConflictError(f"cannot fence group db: it is {self.role} here at generation {self.generation}")
        self.role, self.fenced_by, self.quiesced, self.awaits = Role.FENCED, request.generation, False, False
        self.yields_to = None
        return self.group()

    def order_demote(self, now: float, group: str, order: DemoteOrder) -> DemoteResult:
        if self.role is Role.SECONDARY and self.generation == order.generation:
            return DemoteResult(generation=self.generation, orphan=None, dirty_bytes=0)
        if self.role is Role.SECONDARY or order.generation <= self.generation:
            raise ConflictError(f"cannot demote group db: it is {self.role} here")
        base = order.base.sequence
        tail = [self.journals[number] for number in range(base + 1, self.newest + 1)]
        regions = {journal.region for journal in tail if journal.marker is None}
        regions |= self.map.regions if self.map is not None else set()
        if self.confirmed > max(base, order.covered_sequence):
            regions = set(range(REGIONS))  # nobody knows what these journals wrote
        if any(journal.marker is None for journal in tail) and not self.truth.force_given:
            raise ViolationError(f"{self.name} was demoted with {len(tail)} journals of its own, and nobody said so")
        self.orphans += bool(tail)
        self.map = Map(self.truth.epoch(), base, SuspendedCause.DEMOTED, regions)
        self.journals = {number: each for number, each in self.journals.items() if number <= base}
        self.role, self.generation, self.peer = Role.SECONDARY, order.generation, order.peer_site or self.peer
        self.read = self.restored = base
        self.acquisition = self.quiesced = self.awaits = False
        self.yields_to = None
        self.split = SplitMode.OFF
        self._forget_copies()
        return DemoteResult(generation=self.generation, orphan=None, dirty_bytes=len(regions) << 20)

    def order_promote(self, now: float, group: str, order: PromoteOrder) -> JournalState:
        self._need(Role.PRIMARY, Role.TAKEN_OVER, Role.FENCED)
        if self.role is Role.FENCED:
            self._take_back(order)
        elif order.generation != self.generation:
            raise ConflictError(f"cannot promote group db under generation {order.generation}")
        if self.role is not Role.PRIMARY:
            self.role, self.acquisition, self.quiesced = Role.PRIMARY, True, False
            self.peer = order.peer_site or self.peer
        if self.map is not None and self.map.cause is SuspendedCause.TAKEOVER and not self.map.final:
            self.resume(now)
        return self.state(now)

    def _take_back(self, order: PromoteOrder) -> None:
        """A fenced side is kept: what nobody confirmed is changed regions, and nobody will read the journals."""
        if order.generation <= max(self.generation, self.fenced_by):
            raise ConflictError(f"cannot promote group db under generation {order.generation}")
        if self.other.serves:
            raise ViolationError(f"{self.name} is taken back while {self.other.name} serves")
        dropped = self.other.map.regions if self.other.map is not None else set()
        if dropped and not self.truth.force_given:
            raise ViolationError(f"{self.name} was taken back over {len(dropped)} regions, and nobody said so")
        self.truth.lost |= bool(dropped)
        self.truth.taken_back += 1
        tail = (self.journals[number] for number in range(self.confirmed + 1, self.newest + 1))
        regions = {journal.region for journal in tail if journal.marker is None}
        regions |= self.map.regions if self.map is not None else set()
        self.map = Map(self.truth.epoch(), self.newest, SuspendedCause.TAKEOVER, regions)
        self.confirmed, self.generation = self.newest, order.generation

    # -- of a secondary ----------------------------------------------------------------

    def _follow(self, source: CopySource) -> None:
        self._need(Role.SECONDARY)
        if source.uuid != self.uuid or source.generation != self.generation:
            raise ConflictError(f"copy order of generation {source.generation}, the group here is at {self.generation}")

    def order_order_copy(self, now: float, group: str, order: CopyOrder) -> JournalState:
        self._follow(order.source)
        self.source, self.order_ends = (order.source.site, order.source.generation), now + order.lease_seconds
        return self.state(now)

    def order_order_restore(self, now: float, group: str, request: RestoreRequest) -> JournalState:
        self._need(Role.SECONDARY)
        self.urged = max(self.urged, self.read if request.to_sequence is None else request.to_sequence)
        return self.state(now)

    def order_order_initial_copy(self, now: float, group: str, order: InitialCopyOrder) -> JournalState:
        self._follow(order.source)
        if self.state_of_copy is CopyState.NONE:
            self.state_of_copy, self.todo, self.consistent = CopyState.RUNNING, list(range(REGIONS)), None
            self.whole, self.own_epoch = True, self.map.epoch if self.map else None
        return self.state(now)

    def order_resync(self, now: float, group: str, order: ResyncOrder) -> JournalState:
        self._follow(order.source)
        if order.regions.epoch not in (self.copy_epoch, self.pending.epoch if self.pending else None):
            self.pending = order.regions
        return self.state(now)

    def order_split(self, now: float, group: str, order: SplitOrder) -> JournalState:
        self._need(Role.SECONDARY)
        if order.mode is self.split:
            return self.state(now)
        if order.mode is SplitMode.OFF:
            if self.map is not None and self.map.cause is SuspendedCause.SPLIT and not self.map.regions:
                self.map = None
        else:
            done = self.state_of_copy is CopyState.DONE and self.pending is None
            if not done or self.consistent is None or self.restored < self.consistent:
                raise ConflictError("its volumes are not consistent yet", hint="Let the copy end first.")
            self.check_prefix()
            if order.mode is SplitMode.WRITE and self.map is None:
                self.map = Map(self.truth.epoch(), self.restored, SuspendedCause.SPLIT)
        self.split = order.mode
        return self.state(now)

    def order_take_over(self, now: float, group: str, request: TakeoverRequest) -> TakeoverResult:
        if self.role is Role.TAKEN_OVER and self.generation == request.generation:
            return self._taken(0)
        self._need(Role.SECONDARY)
        if request.generation <= self.generation:
            raise ConflictError(f"cannot take over db with generation {request.generation}: it is at {self.generation}")
        way = self._way(request.force)
        regions: set[int] = set()
        if way == "restore":
            self._finish_restore(force=request.force)
            self.check_prefix()
        elif way == "safe point":
            assert self.safe is not None
            position, held = self.safe
            regions |= {region for region in range(REGIONS) if held[region] != self.content[region]}
            self.content, self.restored = list(held), position
        self.went_back = way == "safe point"
        self.took_all = self.content == self.other.content and not self.other.serves
        self.truth.lost |= not self.took_all
        beyond = (self.journals[number] for number in range(self.restored + 1, self.read + 1))
        regions |= {journal.region for journal in beyond if journal.marker is None}
        regions |= self.map.regions if self.map is not None else set()
        self.map = Map(self.truth.epoch(), self.restored, SuspendedCause.TAKEOVER, regions, covered=self.read)
        self.journals = {number: each for number, each in self.journals.items() if number <= self.restored}
        self.newest = self.confirmed = self.read = self.restored
        self.role, self.generation, self.split = Role.TAKEN_OVER, request.generation, SplitMode.OFF
        self.source, self.order_ends = None, 0.0
        self._forget_copies()
        return self._taken(0)

    def _way(self, force: bool) -> str:
        if self.split is SplitMode.WRITE:
            if not force:
                raise ConflictError("hosts write to its volumes", hint="Wait until that is over; or add --force.")
            return "stand"
        if self.consistent is not None and self.read >= self.consistent:
            return "restore"
        if self.safe is not None:
            if not force:
                raise ConflictError("a resync is under way", hint="Wait until that is over; or add --force.")
            return "safe point"
        raise ConflictError("its initial copy is not complete", hint="Let the copy end.")

    def _finish_restore(self, *, force: bool) -> None:
        was, self.split = self.split, SplitMode.OFF
        self._restore(self.read)
        if self.restored < self.read and not force:
            self.split = was
            raise ConflictError("journals wait for a copy of changed regions", hint="Let the resync go on.")

    def _taken(self, journals: int) -> TakeoverResult:
        if self.map is None:
            raise ViolationError("taken over without a map")
        restored = Position(sequence=self.map.position, data_position=0, time_ns=0)
        return TakeoverResult(
            generation=self.generation,
            restored=restored,
            journals_restored=journals,
            seconds=0.0,
            from_safe_point=self.went_back,
            journals_dropped=max(0, self.map.covered - self.map.position),
        )

    def _forget_copies(self) -> None:
        self.state_of_copy, self.todo, self.whole, self.consistent = CopyState.NONE, [], False, None
        self.copy_epoch = self.pending = self.own_epoch = self.safe = None
        self.covers = self.skips = 0
