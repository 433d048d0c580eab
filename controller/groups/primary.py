"""Commands to a primary group: acquisition on and off, and purge.

Owns the pointer `confirmed`. What the volume server makes of it, and of
acquisition, is its own business; state is durable before the server is told.
"""

from __future__ import annotations

from controller import plans, serving
from controller.api.models import AcquisitionMode, AcquisitionOrder, PurgeRequest, Role
from controller.appliance import Appliance
from controller.errors import ConflictError
from controller.journal.pointers import Pointer
from controller.state import GroupRecord, Phase


def set_acquisition(appliance: Appliance, name: str, order: AcquisitionOrder) -> None:
    """Start or stop recording writes. Given again it converges.

    Writes made while it is off are in no journal: after it is on again the
    secondary needs an initial copy that begins after `gap_sequence`.
    """
    with appliance.locks.hold(groups=[name]):
        group = require_primary(appliance, name)
        again = order.on and not group.acquisition
        page = appliance.open_groups.get(group).page
        with appliance.store.change() as draft:
            draft.group(name).acquisition = order.on
            if again:
                draft.group(name).gap_sequence = page.read(Pointer.DURABLE).sequence + 1
        _apply(appliance, name, order.on)
    if order.on != group.acquisition:
        level, word = ("info", "started") if order.on else ("warning", "stopped")
        appliance.events.emit(
            level, f"group.acquisition_{word}", f"journal acquisition of group {name} {word}", group=name
        )


def _apply(appliance: Appliance, name: str, on: bool) -> None:
    document = appliance.store.document
    group = document.group(name)
    server = plans.group_server(group)
    told = plans.group_document(group, document, appliance.config, appliance.paths)
    serving.tell(appliance, server, told)
    mode = appliance.statuses.get(server, fresh=True)["mode"]
    if on and mode == AcquisitionMode.DIRECT:
        serving.command(appliance, server, "start", journal=told["journal"])
    elif not on and mode != AcquisitionMode.DIRECT:
        serving.command(appliance, server, "stop")


def purge(appliance: Appliance, name: str, request: PurgeRequest) -> None:
    """A reader has everything up to a sequence durably. Space is freed up to what ALL readers have.

    Never beyond what is durable here, never back; an older confirmation is no error.
    """
    with appliance.locks.hold(groups=[name]):
        group = require_primary(appliance, name)
        files = appliance.open_groups.get(group)
        durable = files.page.read(Pointer.DURABLE).sequence
        if request.reader not in group.readers:
            raise ConflictError(
                f"{request.reader} is not a reader of group {name}",
                hint=f"Its readers are: {', '.join(group.readers)}.",
                group=name,
                reader=request.reader,
            )
        if request.to_sequence > durable:
            raise ConflictError(
                f"{request.reader} confirms group {name} up to {request.to_sequence}, durable here is {durable}",
                hint="A reader never has more than is durable here: is this the right group and generation?",
                group=name,
                durable=durable,
            )
        confirmed = appliance.confirmations.note(group, request.reader, request.to_sequence)
        if confirmed > files.page.read(Pointer.CONFIRMED).sequence:
            files.page.publish(Pointer.CONFIRMED, files.position_of(confirmed))


def require_primary(appliance: Appliance, name: str) -> GroupRecord:
    """The group's record; ConflictError unless it is a primary that serves."""
    group = appliance.store.document.group(name)
    if group.role is not Role.PRIMARY or group.phase is not Phase.READY:
        raise ConflictError(
            f"group {name} is {group.role} here ({group.phase}), not a primary",
            hint="Give this order to the site that holds the primary volumes.",
            group=name,
            role=str(group.role),
        )
    return group
