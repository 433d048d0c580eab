"""Orders to a secondary group: copy, initial copy, restore. Handed to its worker, which checks them."""

from __future__ import annotations

from controller.api.drills import RestoreEndOrder
from controller.api.lifecycle import ResyncOrder
from controller.api.models import CopyOrder, InitialCopyMethod, InitialCopyOrder, RestoreRequest, SplitMode
from controller.appliance import Appliance
from controller.copy.worker import SecondaryGroup
from controller.errors import ConflictError
from controller.restore.ends import End


def order_copy(appliance: Appliance, name: str, order: CopyOrder) -> None:
    """The journal copy request, new or renewed."""
    _worker(appliance, name).order_copy(order)


def order_initial_copy(appliance: Appliance, name: str, order: InitialCopyOrder) -> None:
    """Begin the initial copy; the same order again changes nothing."""
    group = appliance.store.document.group(name)
    if group.split is not SplitMode.OFF:
        raise ConflictError(
            f"cannot copy to group {name}: hosts use its volumes, which are split ({group.split})",
            hint=f'End the split first, with "pairvol pair resync {group.name}".',
            group=name,
        )
    _worker(appliance, name).order_initial_copy(order)


def order_resync(appliance: Appliance, name: str, order: ResyncOrder) -> None:
    """Copy changed regions, to which those of this site are added; the same order again changes nothing."""
    copy = InitialCopyOrder(
        source=order.source,
        regions=order.regions,
        method=InitialCopyMethod.DIFFERENTIAL,
        gap_sequence=order.gap_sequence,
        limit_bytes_per_second=order.limit_bytes_per_second,
    )
    order_initial_copy(appliance, name, copy)


def order_restore(appliance: Appliance, name: str, request: RestoreRequest) -> None:
    """Restore what is read, or will be, up to a sequence."""
    _worker(appliance, name).order_restore(request.to_sequence)


def set_restore_end(appliance: Appliance, name: str, order: RestoreEndOrder) -> None:
    """Let restore stand at a moment ahead for a while, or go on."""
    end = End(order.sequence, order.marker, order.time_ns)
    _worker(appliance, name).stand_at(None if end == End() else end, order.hold_seconds)


def _worker(appliance: Appliance, name: str) -> SecondaryGroup:
    return appliance.workers.get(appliance.store.document.group(name))
