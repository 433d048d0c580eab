"""One secondary journal group at work: journal copy, restore and initial copy, as the controller drives them.

Owns the group's open journal volume and pointer page, and the three threads.
Everything it must remember is in files: a group that was killed at any moment
goes on when it is opened again. It takes orders and makes no policy.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from controller.api import models
from controller.api.models import CopyOrder, CopyState, InitialCopyOrder, RestoreMode, SplitMode
from controller.copy.activity import Activity
from controller.copy.bucket import Bucket
from controller.copy.initials import InitialCopying
from controller.copy.journals import JournalCopy
from controller.copy.link import DataLink, LinkMaker
from controller.copy.loop import OnEvent
from controller.copy.opened import OpenedJournal
from controller.copy.orders import CopyOrders
from controller.copy.pull import JournalPull
from controller.copy.restoring import Restoring
from controller.copy.resync import Resync
from controller.copy.snapshot import FinishedRestore as FinishedRestore
from controller.copy.snapshot import Snapshot
from controller.copy.ways import Ways
from controller.errors import ConflictError, PeerError
from controller.journal.layout import BLOCK_BYTES
from controller.journal.pointers import Pointer, Position
from controller.restore.ends import End
from controller.restore.gate import RestoreGate
from controller.restore.inspect import Inspector
from controller.restore.program import Marker, RestoreProgram
from controller.restore.targets import Targets
from controller.volume.backing import Backing

POINTERS: Final = (
    Pointer.READ_SCHEDULED,
    Pointer.ALREADY_READ,
    Pointer.RESTORE_SCHEDULED,
    Pointer.ALREADY_RESTORED,
)


class SecondaryGroup:
    """An open secondary group. Any thread may call until `stop`; `targets` stay the caller's to close.

    `on_event` goes to the event log. `on_markers` gets marker journals in
    order, before already_restored passes them, from the restore thread.
    """

    def __init__(
        self,
        group_name: str,
        uuid: str,
        generation: int,
        journal_path: str,
        pointers_path: str,
        targets: Mapping[int, Backing],
        state_path: str | Path,
        on_event: OnEvent,
        on_markers: Callable[[list[Marker]], None] = lambda markers: None,
        split: SplitMode = SplitMode.OFF,
        held: bool = False,
        taking_over: bool = False,
        link_type: LinkMaker = DataLink,
    ) -> None:
        self.name = group_name
        self._on_event = on_event
        self._moved = threading.Condition()
        self._bucket = Bucket()
        self._ways = Ways(self._event)
        self._taken_over = False
        self._targets = Targets(targets)
        self._split = split
        self._gate = RestoreGate(self._notify)
        self._gate.split = split is not SplitMode.OFF
        self._gate.held = held
        self._copy_orders = threading.Lock()  # no copy begins while images are being opened
        with ExitStack() as undo:
            opened = OpenedJournal.open(journal_path, pointers_path, uuid, generation, undo)
            self._journal, self._pointers, space = opened.journal, opened.pointers, opened.space
            self._inspector = Inspector(
                Path(state_path).with_name("verify.json"),
                self._targets,
                lambda sequence: self._initial.comparable(sequence),
                lambda run, done, ended: self._initial.passed(run, done, ended),
                self._event,
            )
            program = RestoreProgram(
                self._journal, self._pointers, self._targets, on_markers, self._gate, self._inspector
            )
            self._restore = Restoring(program, self._pointers, space, self._on_restored, self._event)
            self._resync = Resync(
                Path(state_path).parent,
                uuid,
                self._targets,
                self._gate,
                lambda: program.applied,
                self._restore.restore,
                self._restore.wake,
            )
            undo.callback(self._resync.close)
            transfer = self._bucket, link_type, self._ways
            self._initial = InitialCopying(
                state_path, self._targets, self._resync, self._settle, self._event, taking_over, *transfer
            )
            undo.pop_all()
        blocks = {index: backing.size_bytes // BLOCK_BYTES for index, backing in targets.items()}
        self._copy = JournalCopy(
            JournalPull(self._journal, self._pointers, space, blocks, self._bucket),
            CopyOrders(uuid, generation),
            self._on_read,
            self._event,
            *transfer,
        )
        for loop in (self._copy, self._restore, self._initial):
            loop.start()

    # -- orders ---------------------------------------------------------------

    def order_copy(self, order: CopyOrder) -> None:
        """The journal copy request: new, or renewed before its lease ends."""
        self._check_secondary()
        self._copy.check(order.source)
        if self._bucket.change(order.limit_bytes_per_second):
            self._initial.wake()
        self._copy.take(order)
        self._restore.follow(order.restore is RestoreMode.AT_ONCE)

    def order_restore(self, to_sequence: int | None = None) -> None:
        """The restore request: up to a sequence, as it arrives; None: what is read by now."""
        self._check_secondary()
        self._restore.restore(to_sequence)

    def order_initial_copy(self, order: InitialCopyOrder) -> None:
        """Begin the initial copy, or let it go on; the same order again changes nothing."""
        self._check_secondary()
        self._copy.check(order.source)
        with self._copy_orders:
            stored = self._initial.stored
            if self._gate.held and not (stored.same_source(order) or stored.same_pending(order)):
                raise ConflictError(
                    f"cannot copy to group {self.name}: a drill is open on its volumes",
                    hint=f'Stop it first: "pairvol drill stop {self.name}".',
                )
            self._initial.take(order)
            self._bucket.change(order.limit_bytes_per_second)

    def bar_copies(self, on: bool) -> None:
        """From here on no copy begins, and the way of a takeover that is chosen stays the right one."""
        self._initial.bar(on)

    def finish_restore(self, timeout: float | None = None) -> FinishedRestore:
        """Stop copying, restore every journal that may be, and return where the SVOL then stands.

        Afterwards the group takes no orders. Raises what stopped the restore,
        or PeerError when `timeout` seconds are over; it may be called again.
        """
        self._taken_over = True
        self._copy.halt()
        self._initial.halt()
        before = self._pointers.read(Pointer.ALREADY_RESTORED).sequence
        self._gate.waiting = None  # noted again when restore comes to it
        self._gate.end.set(None, 0.0)
        self._restore.restore(None)
        read = self._pointers.read(Pointer.ALREADY_READ).sequence

        def ended() -> bool:
            restored = self._pointers.read(Pointer.ALREADY_RESTORED).sequence
            barred = self._gate.closed or self._gate.waiting is not None
            if restored >= read or (barred and not self._restore.program.pending):
                return True
            return self._restore.activity in (Activity.FAILED, Activity.HALTED)

        with self._moved:
            in_time = self._moved.wait_for(ended, timeout)
        if self._restore.error is not None:
            raise self._restore.error
        if not in_time:
            raise PeerError(f"restore of {self.name} did not end within {timeout} s", hint="Try again; it goes on.")
        restored = self._pointers.read(Pointer.ALREADY_RESTORED)
        self._pointers.persist()
        return FinishedRestore(
            restored.sequence, restored.data_position, restored.time_ns, journals=restored.sequence - before
        )

    def stop(self) -> None:
        """End the threads and close the files. The group can be opened again."""
        for loop in (self._copy, self._initial, self._restore):
            loop.halt()
        self._resync.close()
        self._pointers.persist()
        self._pointers.close()
        self._journal.close()

    def hold(self, split: SplitMode, timeout: float = 60.0) -> Position:
        """Stop restoring while hosts use the volumes, or go on; where the SVOL stands, durably."""
        with self._targets.lock:
            self._split = split
            self._gate.split = split is not SplitMode.OFF
        self._resync.open(self._initial.stored)
        self._restore.order(explicit=True)
        with self._moved:
            if not self._moved.wait_for(lambda: not (self._gate.split and self._restore.program.pending), timeout):
                raise PeerError(f"restore of {self.name} did not come to rest within {timeout} s", hint="Try again.")
        return self._pointers.read(Pointer.ALREADY_RESTORED)

    def hold_for_images(self, on: bool, timeout: float = 60.0) -> Position:
        """Let the SVOLs stand still at a consistent sequence, or go on; where they stand, durably.

        ConflictError when they are not consistent; nothing has changed then.
        """
        with self._copy_orders, self._targets.lock:
            if on and not self._gate.held:
                self._refuse_inconsistent()
            self._gate.held = on
        self._restore.order(explicit=True)
        with self._moved:
            if not self._moved.wait_for(lambda: not (on and self._restore.program.pending), timeout):
                raise PeerError(f"restore of {self.name} did not come to rest within {timeout} s", hint="Try again.")
        return self._pointers.read(Pointer.ALREADY_RESTORED)

    def stand_at(self, end: End | None, seconds: float) -> None:
        """Let restore go on to there and stand, for so long; None: let it go on. ConflictError when that is behind."""
        with self._targets.lock:
            self._gate.end.order(end, seconds, self._restore.program.applied)
        self._restore.order(explicit=True)

    @property
    def restore_end(self) -> int | None:
        """Where restore stands, or will, by an order; None when it was told none, or the place is not known yet."""
        return self._gate.end.found

    def _refuse_inconsistent(self) -> None:
        consistent = self._initial.consistent_sequence
        copying = self._initial.state().state is CopyState.RUNNING
        if copying or consistent is None or self._restore.program.applied.sequence < consistent:
            raise ConflictError(
                f"the volumes of group {self.name} are not consistent yet",
                hint=f'Let the copy end first: "pairvol pair wait {self.name} --state PAIR".',
            )

    # -- what is known --------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """The state as it is now."""
        pointers = self._pointers.read_all()
        read, restored = pointers[Pointer.ALREADY_READ], pointers[Pointer.ALREADY_RESTORED]
        records = max(0, read.sequence - restored.sequence)
        blocks = max(0, read.data_position - restored.data_position)
        fill = max(records / self._journal.slot_count, blocks / self._journal.data_blocks)
        return Snapshot(
            pointers={str(pointer): _shape(pointers[pointer]) for pointer in POINTERS},
            records_used=records,
            records_capacity=self._journal.slot_count,
            data_used_bytes=blocks * BLOCK_BYTES,
            data_capacity_bytes=self._journal.data_blocks * BLOCK_BYTES,
            fill_percent=round(100 * fill, 2),
            initial_copy=self._initial.state(),
            consistent_sequence=self._initial.consistent_sequence,
            copy_order_active=self._copy.order_active,
            link_ok=self._copy.link_ok,
            link_contact_ns=self._copy.link_contact_ns,
            link_silent_seconds=self._copy.link_silent_seconds,
            checksum_errors=self._copy.pull.rereads,
            failure=self._copy.failure or self._restore.failure,
            split=self._split,
            waiting_epoch=self._waiting_epoch(),
            safe_point=self._resync.safe_point(),
            verify=self._inspector.since(self._initial.stored.whole_sequence),
            **self._copy.figures(),
        )

    def wait_already_read(self, after: int, timeout: float) -> Position:
        """Wait until already_read passes `after` or time is up; where it then is."""
        with self._moved:
            self._moved.wait_for(lambda: self._pointers.read(Pointer.ALREADY_READ).sequence > after, timeout)
        return self._pointers.read(Pointer.ALREADY_READ)

    # -- between the threads --------------------------------------------------

    def _on_read(self) -> None:
        self._restore.wake()
        self._notify()

    def _waiting_epoch(self) -> str | None:
        """The set of regions whose copy has to begin before restore can go on."""
        waiting = self._gate.waiting
        if waiting is not None:
            return waiting.epoch
        return self._resync.own_epoch if self._gate.own_changes else None

    def _settle(self) -> None:
        """Drop the safe point once the SVOL is consistent again."""
        restored = self._pointers.read(Pointer.ALREADY_RESTORED).sequence
        if self._resync.settle(self._initial.stored, restored):
            self._event("info", "resync.done", f"resync done: consistent again at {restored}", {"sequence": restored})

    def _on_restored(self) -> None:
        self._settle()
        self._copy.room_freed()
        self._notify()

    def _event(self, level: str, name: str, message: str, facts: dict[str, Any]) -> None:
        self._on_event(level, name, message, facts)
        self._notify()

    def _notify(self) -> None:
        with self._moved:
            self._moved.notify_all()

    def _check_secondary(self) -> None:
        if self._taken_over:
            raise ConflictError(
                f"group {self.name} is taken over here: it takes no copy and restore orders",
                hint="Its volumes are served to hosts; pair them again to copy.",
            )


def _shape(position: Position) -> models.Position:
    return models.Position(sequence=position.sequence, data_position=position.data_position, time_ns=position.time_ns)
