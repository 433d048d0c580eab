"""Where a group stands that was taken over: its position, its map of changes, and its journal cut there.

Owns the files' part of a takeover, each step durable before the next and each
to be done again after a crash. No process has the group's files open.

1. The dirty map: made at the position where hosts take over. What journals
   beyond it told is in its bits, so that a later differential copy makes up
   for it. Once it is there, it is not made again.
2. The volumes go back to the safe point, when that is the way.
3. The journal: new generation; nothing in it beyond the position.
4. All pointers at the position, as of a primary that has written nothing.
5. The safe point and the progress of copies are forgotten.
"""

from __future__ import annotations

from contextlib import ExitStack

from controller import durable
from controller.api.models import SuspendedCause
from controller.appliance import Appliance
from controller.errors import NotFoundError
from controller.groups.marker_list import MarkerList
from controller.journal.changes import changed_regions
from controller.journal.pointers import Pointer, PointerPage, Position
from controller.journal.recovery import wipe_beyond
from controller.journal.volume import JournalVolume
from controller.paths import GroupPaths
from controller.restore.safepoint import SafePoint
from controller.state import GroupRecord, Way
from controller.volume import dirty, regions
from controller.volume.backing import Backing
from controller.volume.dirty import DirtyMap
from controller.volume.dirty_file import MapHead, MapState


def make(appliance: Appliance, group: GroupRecord, generation: int, way: Way) -> None:
    """Make the group stand where the way leads, under a new generation."""
    files = GroupPaths(appliance.paths.group(group.name))
    with ExitStack() as stack:
        journal = JournalVolume.open(group.journal_path, writable=True, group_uuid=group.uuid)
        stack.callback(journal.close)
        page = PointerPage.open(str(files.pointers))
        stack.callback(page.close)
        backings = {}
        for member in group.volumes:
            backing = Backing.open(appliance.store.document.volume(member.name).backing, member.size_bytes)
            stack.callback(backing.close)
            backings[member.index] = backing
        point = SafePoint.open(files.safe_point, backings) if way is Way.SAFE_POINT else None
        if point is not None:
            stack.callback(point.close)
        head = _map(files, group, journal, page, point)
        if point is not None:
            point.roll_back()
        journal.set_generation(generation)
        wipe_beyond(journal, head.position.sequence)
        journal.sync()
        for pointer in Pointer:
            page.publish(pointer, head.position)
        page.persist()
    MarkerList(files.markers).cut(head.position.sequence)
    forget_copies(files)


def head_of(appliance: Appliance, group: GroupRecord) -> MapHead:
    """What the group's map says; NotFoundError when there is none."""
    files = GroupPaths(appliance.paths.group(group.name))
    head = dirty.head_of(str(files.dirty_map), group.uuid)
    if head is None:
        raise NotFoundError(f"group {group.name} has no changed regions", group=group.name)
    return head


def forget_copies(files: GroupPaths) -> None:
    """Nothing of earlier copies and verifies speaks of the volumes any more."""
    durable.remove(files.safe_point / "point.json")
    SafePoint.open(files.safe_point, {})
    for path in (files.copy_state, files.run, files.verify_results):
        durable.remove(path)


def _map(
    files: GroupPaths, group: GroupRecord, journal: JournalVolume, page: PointerPage, point: SafePoint | None
) -> MapHead:
    path = str(files.dirty_map)
    present = dirty.head_of(path, group.uuid)
    if present is not None and present.cause is SuspendedCause.TAKEOVER:
        return present
    sizes = {member.index: member.size_bytes for member in group.volumes}
    restored, read = page.read(Pointer.ALREADY_RESTORED), page.read(Pointer.ALREADY_READ)
    position: Position = restored if point is None else point.position
    beyond, _ = changed_regions(journal, restored.sequence + 1, read.sequence, sizes)
    changed = regions.union([beyond] if point is None else [beyond, point.changed()], sizes)
    covered = max(read.sequence, position.sequence)
    head = MapHead(position, MapState.SUSPENDED, SuspendedCause.TAKEOVER, covered_sequence=covered)
    if present is None:
        marks = DirtyMap.create(path, group.uuid, position, sizes, head, changed)
    else:
        marks = DirtyMap.open(path, group.uuid)
        marks.renew(head, changed)
    marks.close()
    return marks.head
