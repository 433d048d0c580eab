"""Suspend, resume, changed regions and the end of an epoch: what the volume server does, by order.

The state of a suspension is the dirty map, which the volume server owns; here
is who may ask for what.
"""

from __future__ import annotations

from controller import plans, serving
from controller.api.lifecycle import EpochOrder, SuspendOrder
from controller.api.models import ChangedRegions, Role, SuspendedCause
from controller.appliance import Appliance
from controller.errors import ConflictError, NotFoundError, UsageError
from controller.groups.primary import require_primary
from controller.paths import GroupPaths
from controller.state import GroupRecord
from controller.volume import dirty, regions
from controller.volume.dirty import DirtyMap
from controller.volume.dirty_file import MapState


def suspend(appliance: Appliance, name: str, order: SuspendOrder) -> None:
    """Give up journaling at a primary; host writes go on, tracked by region. Done twice it is done."""
    if order.cause is not SuspendedCause.OPERATOR:
        raise UsageError(f"a group is not suspended by order for cause {order.cause}", hint="Leave the cause out.")
    with appliance.locks.hold(groups=[name]):
        group = require_primary(appliance, name)
        serving.command(appliance, plans.group_server(group), "suspend", cause=str(SuspendedCause.OPERATOR))


def resume(appliance: Appliance, name: str) -> None:
    """Journal first again; the changed regions stand still until their epoch is cleared."""
    with appliance.locks.hold(groups=[name]):
        require_primary(appliance, name)
        command_resume(appliance, name)


def command_resume(appliance: Appliance, name: str) -> None:
    """Told durably, then commanded."""
    document = appliance.store.document
    group = document.group(name)
    server = plans.group_server(group)
    told = plans.group_document(group, document, appliance.config, appliance.paths)
    serving.tell(appliance, server, told)
    serving.command(appliance, server, "resume", journal=told["journal"])


def clear_epoch(appliance: Appliance, name: str, order: EpochOrder) -> None:
    """Forget the changed regions of an epoch, which are at the other site. Another set is never forgotten."""
    with appliance.locks.hold(groups=[name]):
        group = require_primary(appliance, name)
        serving.command(appliance, plans.group_server(group), "clear_epoch", epoch=order.epoch)


def changed_regions(appliance: Appliance, name: str) -> ChangedRegions:
    """The set that a differential copy brings over; ConflictError while it still grows at a site that serves."""
    group = appliance.store.document.group(name)
    found = read_map(appliance, group)
    if found is None:
        raise NotFoundError(f"group {name} has no changed regions", hint="There is nothing to copy.", group=name)
    if group.role is not Role.SECONDARY and found.head.state is not MapState.RESYNC:
        raise ConflictError(
            f"the changed regions of group {name} are not final: it is {found.head.state.name.lower()}",
            hint="Resume the group, or promote it, first.",
            group=name,
        )
    return ChangedRegions(
        epoch=found.head.epoch,
        region_bytes=regions.REGION_BYTES,
        sequence=found.head.position.sequence,
        covered_sequence=found.head.covered_sequence,
        volumes=regions.to_wire(found.packed()),
    )


def read_map(appliance: Appliance, group: GroupRecord) -> DirtyMap | None:
    """The group's map as its file says now, closed; None when there is none."""
    path = str(GroupPaths(appliance.paths.group(group.name)).dirty_map)
    if not dirty.exists(path):
        return None
    found = DirtyMap.open(path, group.uuid)
    found.close()
    return found
