"""Promote: a group that serves by itself becomes the primary of the pair again, and writes journals.

A taken over group goes on with its journal where it took over; its map is the
set that the other site has to copy. A fenced group may be promoted instead,
when the operator keeps its side: its unconfirmed journals are brought to its
volumes and marked, because the other site will not read them any more.
"""

from __future__ import annotations

from controller import plans, serving
from controller.api.lifecycle import PromoteOrder
from controller.api.models import AcquisitionMode, Role, SuspendedCause
from controller.appliance import Appliance
from controller.errors import ConflictError, IntegrityError
from controller.groups import orphans
from controller.groups.fence import start_serving
from controller.groups.suspension import command_resume, read_map
from controller.journal.changes import changed_regions, everything
from controller.journal.pointers import Pointer, PointerPage
from controller.journal.recovery import scan
from controller.journal.volume import JournalVolume
from controller.paths import GroupPaths
from controller.state import GroupRecord, Phase
from controller.volume.dirty import DirtyMap
from controller.volume.dirty_file import MapHead, MapState


def promote(appliance: Appliance, name: str, order: PromoteOrder) -> None:
    """Write journals for the site that follows. Given again it converges."""
    with appliance.locks.hold(groups=[name]):
        group = appliance.store.document.group(name)
        _refuse(group, order)
        if group.role is Role.FENCED:
            _take_back(appliance, group)
        if group.role is not Role.PRIMARY:
            with appliance.store.change() as draft:
                record = draft.group(name)
                record.role, record.generation, record.acquisition = Role.PRIMARY, order.generation, True
                record.peer_site = order.peer_site or record.peer_site
                record.readers, record.gap_sequence = [record.peer_site], None
                record.fenced_by, record.fence_reason = None, ""
                record.quiesced, record.yields_to = False, None
                record.way = None
        group = appliance.store.document.group(name)
        appliance.permits.end_wait(name)
        start_serving(appliance, name)
        found = read_map(appliance, group)
        serving_alone = found is not None and found.head.cause is SuspendedCause.TAKEOVER
        if found is not None and serving_alone and found.head.state is not MapState.RESYNC:
            command_resume(appliance, name)
        serving.serve_journal(appliance, group)
        serving.wait_served(appliance, plans.journal_server(name))
        serving.wait_served(appliance, plans.source_server(name))
    appliance.events.emit(
        "info",
        "group.promoted",
        f"group {name} is the primary under generation {order.generation}",
        {"generation": order.generation},
        group=name,
    )


def _refuse(group: GroupRecord, order: PromoteOrder) -> None:
    fits = group.generation == order.generation
    if group.role is Role.FENCED:
        fits = order.generation > max(group.generation, group.fenced_by or 0)
    elif group.role is Role.SECONDARY:
        fits = False
    if not fits or group.phase is not Phase.READY:
        raise ConflictError(
            f"cannot promote group {group.name} under generation {order.generation}: it is {group.role} here"
            f" at generation {group.generation} ({group.phase})",
            hint="Take over a secondary; promote a site that was taken over under its own generation,"
            " a fenced one under the next.",
            group=group.name,
            generation=group.generation,
        )


def _take_back(appliance: Appliance, group: GroupRecord) -> None:
    """A fenced group's journals that nobody confirmed become changed regions; its journal counts as read."""
    files = GroupPaths(appliance.paths.group(group.name))
    journal = JournalVolume.open(group.journal_path, writable=False, group_uuid=group.uuid)
    page = PointerPage.open(str(files.pointers))
    try:
        out, durable = page.read(Pointer.JOURNAL_OUT), page.read(Pointer.DURABLE)
        tail, damage = scan(journal, out)
        if tail.sequence < durable.sequence:
            raise IntegrityError(
                f"journal of group {group.name} is damaged at sequence {tail.sequence + 1}: {damage}",
                hint="Nothing was changed. Demote this site instead.",
                group=group.name,
                sequence=tail.sequence + 1,
            )
        sizes = {member.index: member.size_bytes for member in group.volumes}
        if orphans.journaled(group, files, page.read(Pointer.CONFIRMED).sequence):
            changed, _ = changed_regions(journal, out.sequence + 1, tail.sequence, sizes)
        else:  # hosts wrote while acquisition was stopped
            changed = everything(sizes)
        present = read_map(appliance, group)
        head = MapHead(tail, MapState.DRAINING, SuspendedCause.TAKEOVER)
        if present is None:
            marks = DirtyMap.create(str(files.dirty_map), group.uuid, tail, sizes, head, changed)
        else:
            marks = DirtyMap.open(present.path, group.uuid)
            marks.renew(head, changed)
        marks.close()
        page.publish(Pointer.CONFIRMED, tail)
        page.persist()
    finally:
        page.close()
        journal.close()


def mode_of(appliance: Appliance, group: GroupRecord) -> AcquisitionMode:
    """How hosts of a group whose volume server does not run by intent are treated, once it runs."""
    found = read_map(appliance, group)
    if found is not None and found.head.state is not MapState.RESYNC:
        return AcquisitionMode.SUSPENDED
    return AcquisitionMode.JOURNAL if group.acquisition else AcquisitionMode.DIRECT
