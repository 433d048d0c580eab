"""Orders to a secondary group: copy, initial copy, restore. Handed to its worker, which checks them."""

from __future__ import annotations

from controller.api.models import CopyOrder, InitialCopyOrder, RestoreRequest
from controller.appliance import Appliance
from controller.copy.worker import SecondaryGroup


def order_copy(appliance: Appliance, name: str, order: CopyOrder) -> None:
    """The journal copy request, new or renewed."""
    _worker(appliance, name).order_copy(order)


def order_initial_copy(appliance: Appliance, name: str, order: InitialCopyOrder) -> None:
    """Begin the initial copy; the same order again changes nothing."""
    _worker(appliance, name).order_initial_copy(order)


def order_restore(appliance: Appliance, name: str, request: RestoreRequest) -> None:
    """Restore what is read, or will be, up to a sequence."""
    _worker(appliance, name).order_restore(request.to_sequence)


def _worker(appliance: Appliance, name: str) -> SecondaryGroup:
    return appliance.workers.get(appliance.store.document.group(name))
