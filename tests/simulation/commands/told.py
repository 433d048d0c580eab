"""What a controller tells of itself: the journal state."""

from __future__ import annotations

from controller.api.models import (
    AcquisitionMode,
    CopyState,
    InitialCopy,
    JournalState,
    Role,
    SafePoint,
)
from controller.journal.pointers import Pointer
from tests.simulation.commands.copying import Copying
from tests.simulation.commands.site import CAPACITY, REGIONS
from tests.simulation.timeline import wall


class Told(Copying):
    """The answers."""

    def time_of(self, sequence: int) -> int:
        journal = self.journals.get(sequence)
        return journal.time_ns if journal is not None else 0

    def state(self, now: float) -> JournalState:
        if self.role is Role.SECONDARY:
            places = {Pointer.ALREADY_READ: self.read, Pointer.ALREADY_RESTORED: self.restored}
        else:
            places = {
                Pointer.JOURNAL_IN: self.newest,
                Pointer.DURABLE: self.newest,
                Pointer.CONFIRMED: self.confirmed,
                Pointer.JOURNAL_OUT: self.confirmed,
                Pointer.ALREADY_READ: self.read,
                Pointer.ALREADY_RESTORED: self.restored,
            }
        used = max(0, self.newest - self.confirmed) if self.role is not Role.SECONDARY else self.read - self.restored
        mode = AcquisitionMode.JOURNAL if self.acquisition else AcquisitionMode.DIRECT
        changed = self.map
        pending = self.pending
        return self.told(
            now,
            {name: (sequence, self.time_of(sequence)) for name, sequence in places.items()},
            used,
            CAPACITY,
            mode=AcquisitionMode.SUSPENDED if self.suspended and self.role is not Role.SECONDARY else mode,
            acquisition=self.acquisition and self.role in (Role.PRIMARY, Role.FENCED),
            gap_sequence=None,
            initial_copy=InitialCopy.model_construct(
                state=CopyState.RUNNING if pending else self.state_of_copy,
                bytes_done=REGIONS - len(self.todo),
                bytes_total=REGIONS,
                bytes_copied=0,
                gap_sequence=None,
                method=None,
                epoch=pending.epoch if pending else self.copy_epoch,
                pending=pending is not None,
                failure=None,
            ),
            consistent_sequence=self.consistent if self.role is Role.SECONDARY else None,
            copy_order_active=self.role is Role.SECONDARY and now < self.order_ends,
            link_ok=self.link_ok,
            link_contact_ns=wall(self.contact),
            serving=self.serves,
            awaits_serve=self.awaits and self.role is Role.PRIMARY,
            quiesced=self.quiesced,
            yields_to=self.yields_to,
            split=self.split,
            epoch=changed.epoch if changed else None,
            dirty_bytes=len(changed.regions) << 20 if changed else 0,
            suspended_cause=changed.cause if changed else None,
            suspended_sequence=changed.position if changed else None,
            covered_sequence=changed.covered if changed else 0,
            changes_final=changed.final if changed else False,
            waiting_epoch=None,
            safe_point=SafePoint(open=self.safe is not None, sequence=self.safe[0] if self.safe else 0),
            orphans=self.orphans,
            drills=0,
            append_records_per_second=0.0,
            append_bytes_per_second=0.0,
            seconds_to_full=None,
        )
