"""Split: hosts use the volumes of a secondary for a while, readable or writable.

Restore stands still meanwhile; journals still arrive. Regions that hosts
change are tracked in the secondary's own dirty map, and restore goes on after
a differential copy that takes them in.
"""

from __future__ import annotations

from controller import plans, serving
from controller.api.lifecycle import SplitOrder
from controller.api.models import CopyState, Role, SplitMode, SuspendedCause
from controller.appliance import Appliance
from controller.copy.worker import SecondaryGroup
from controller.drills.commands import refuse_open
from controller.errors import ConflictError
from controller.groups.fence import start_serving
from controller.groups.suspension import read_map
from controller.journal.pointers import Pointer, Position
from controller.paths import GroupPaths
from controller.state import GroupRecord, Phase
from controller.volume import dirty
from controller.volume.dirty import DirtyMap
from controller.volume.dirty_file import MapHead, MapState


def split(appliance: Appliance, name: str, order: SplitOrder) -> None:
    """Let hosts read, or write, the volumes of a secondary; or end that. Given again it converges."""
    with appliance.locks.hold(groups=[name]):
        group = appliance.store.document.group(name)
        if group.role is not Role.SECONDARY or group.phase is not Phase.READY:
            raise ConflictError(
                f"cannot split group {name}: it is {group.role} here ({group.phase})",
                hint="Give this order to the site that holds the secondary volumes.",
                group=name,
            )
        worker = appliance.workers.get(group)
        server = plans.group_server(group)
        if order.mode is not group.split:
            refuse_open(group, f"change the split of group {name}")
            if not order.force:
                serving.refuse_connected(appliance, server, f"change the split of group {name}")
            if order.mode is SplitMode.OFF:
                _join(appliance, group, worker)
            else:
                _part(appliance, group, worker, order.mode)
            appliance.events.emit("info", "group.split", f"group {name}: split {order.mode}", group=name)
        if order.mode is not SplitMode.OFF:
            start_serving(appliance, name)


def _part(appliance: Appliance, group: GroupRecord, worker: SecondaryGroup, mode: SplitMode) -> None:
    """Restore stands; the map is there before the first host write, the state before the server."""
    snapshot = worker.snapshot()
    consistent = snapshot.consistent_sequence
    restored = snapshot.pointers[str(Pointer.ALREADY_RESTORED)].sequence
    if snapshot.initial_copy.state is CopyState.RUNNING or consistent is None or restored < consistent:
        raise ConflictError(
            f"cannot split group {group.name}: its volumes are not consistent yet",
            hint=f'Let the copy end first: "pairvol pair wait {group.name} --state PAIR".',
            group=group.name,
        )
    position = worker.hold(mode)
    if mode is SplitMode.WRITE and read_map(appliance, group) is None:
        _make_map(appliance, group, position)
    serving.retire(appliance, plans.group_server(group))
    with appliance.store.change() as draft:
        draft.group(group.name).split = mode


def _join(appliance: Appliance, group: GroupRecord, worker: SecondaryGroup) -> None:
    serving.retire(appliance, plans.group_server(group))
    own = read_map(appliance, group)
    if own is not None and own.head.cause is SuspendedCause.SPLIT and not own.dirty_bytes():
        dirty.forget(own.path)  # nobody wrote
    with appliance.store.change() as draft:
        draft.group(group.name).split = SplitMode.OFF
    worker.hold(SplitMode.OFF)


def _make_map(appliance: Appliance, group: GroupRecord, position: Position) -> None:
    path = str(GroupPaths(appliance.paths.group(group.name)).dirty_map)
    sizes = {member.index: member.size_bytes for member in group.volumes}
    head = MapHead(position, MapState.SUSPENDED, SuspendedCause.SPLIT)
    DirtyMap.create(path, group.uuid, position, sizes, head).close()
