"""Orphan tails: journals of a former primary that the site which took over never had.

Owns their judging (what is the tail, which regions differ) and their end:
they are listed, dumped (controller/journal/dump.py), and dropped by explicit
order only.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

import numpy as np

from controller import durable
from controller.api.lifecycle import Orphan
from controller.api.models import SuspendedCause
from controller.appliance import Appliance
from controller.errors import NotFoundError
from controller.groups.marker_list import MarkerList
from controller.groups.suspension import read_map
from controller.journal.changes import changed_regions, everything
from controller.journal.layout import BLOCK_BYTES, Kind, Records
from controller.journal.markers import MarkerKind
from controller.journal.pointers import Pointer, PointerPage, Position
from controller.journal.recovery import scan
from controller.journal.volume import JournalVolume
from controller.paths import GroupPaths
from controller.state import Demotion, GroupRecord
from controller.volume.dirty import DirtyMap
from controller.volume.dirty_file import MapHead, MapState


class _Tail:
    """Counts the records after a sequence as they are found."""

    def __init__(self, after: int) -> None:
        self.after = after
        self.journals = self.data_bytes = 0
        self.first: np.void | None = None
        self.last: np.void | None = None

    def add(self, records: Records) -> None:
        mine = records[(records["sequence"] > self.after) & (records["kind"] != Kind.MARKER)]
        if len(mine):
            self.journals += len(mine)
            self.data_bytes += int(mine["data_blocks"].sum()) * BLOCK_BYTES
            self.first = self.first if self.first is not None else mine[0].copy()
            self.last = mine[-1].copy()


def judge(appliance: Appliance, group: GroupRecord, demotion: Demotion) -> None:
    """Count the tail and mark what differs: first the map, then the record of both, durably. Changes no journal."""
    files = GroupPaths(appliance.paths.group(group.name))
    journal = JournalVolume.open(group.journal_path, writable=False, group_uuid=group.uuid)
    try:
        page = PointerPage.open(str(files.pointers))
        pointers = page.read_all()
        page.close()
        tail = _Tail(demotion.base.sequence)
        out = pointers[Pointer.JOURNAL_OUT]
        end, damage = scan(journal, out, tail.add)
        whole = end.sequence >= pointers[Pointer.DURABLE].sequence
        told = journaled(group, files, demotion.base.sequence)
        known = told and whole and out.sequence <= max(demotion.base.sequence, demotion.covered_sequence)
        sizes = {member.index: member.size_bytes for member in group.volumes}
        # What is in no checkpoint may not be in these volumes, although the new primary has it.
        safe = min(demotion.base.sequence, pointers[Pointer.CHECKPOINT].sequence)
        first = max(safe, out.sequence) + 1
        changed = changed_regions(journal, first, end.sequence, sizes)[0] if known else everything(sizes)
    finally:
        journal.close()
    if not known:
        words = damage if not whole else f"journals up to {out.sequence} were freed"
        words = words if told else "acquisition was stopped, and no whole copy followed that the new primary has"
        appliance.events.emit(
            "warning",
            "group.changes_unknown",
            f"group {group.name}: which regions differ from the new primary is not known, all are copied: {words}",
            group=group.name,
        )
    _store_map(appliance, group, demotion, sizes, changed)
    with appliance.store.change() as draft:
        record = draft.group(group.name)
        assert record.demotion is not None
        record.demotion.judged = True
        if tail.journals:
            orphan = _orphan(group, demotion, tail, files)
            record.orphans.append(orphan)
            if group.journal_pool is not None:  # that volume is taken: the fresh journal is a file of ours
                record.journal_path, record.journal_pool = str(files.journal), None
            record.journal_members = []  # they are taken in the same way


def journaled(group: GroupRecord, files: GroupPaths, base: int) -> bool:
    """Whether the new primary has every write that was made while acquisition was stopped.

    The word of it is the marker of the whole copy that followed, among the journals that it has.
    """
    if not group.acquisition:
        return False
    gap = group.gap_sequence
    return gap is None or any(
        marker.kind is MarkerKind.COPIED and gap <= marker.sequence <= base
        for marker in MarkerList(files.markers).all()
    )


def listed(appliance: Appliance, name: str) -> list[Orphan]:
    """The kept tails of a group, oldest first."""
    return appliance.store.document.group(name).orphans


def drop(appliance: Appliance, name: str, orphan: str) -> None:
    """Forget a kept tail for good."""
    with appliance.locks.hold(groups=[name]):
        found = next((each for each in listed(appliance, name) if each.name == orphan), None)
        if found is None:
            raise NotFoundError(
                f"group {name} keeps no journals named {orphan}", hint="List them first.", group=name, orphan=orphan
            )
        if found.pool is None:
            with suppress(FileNotFoundError):
                durable.remove(found.path)
        with appliance.store.change() as draft:
            record = draft.group(name)
            record.orphans = [each for each in record.orphans if each.name != orphan]
    appliance.events.emit(
        "warning",
        "group.orphan_dropped",
        f"group {name}: {found.journals} orphan journals dropped by order",
        found.model_dump(mode="json"),
        group=name,
    )


def _orphan(group: GroupRecord, demotion: Demotion, tail: _Tail, files: GroupPaths) -> Orphan:
    assert tail.first is not None
    assert tail.last is not None
    first, last = int(tail.first["sequence"]), int(tail.last["sequence"])
    name = f"generation-{group.generation}-{first}-{last}"
    in_pool = group.journal_pool is not None
    return Orphan(
        name=name,
        path=os.path.realpath(group.journal_path) if in_pool else os.fspath(files.orphans / name),
        pool=group.journal_pool,
        members=group.journal_members,
        generation=group.generation,
        superseded_by=demotion.generation,
        first_sequence=first,
        last_sequence=last,
        journals=tail.journals,
        data_bytes=tail.data_bytes,
        first_time_ns=int(tail.first["time_ns"]),
        last_time_ns=int(tail.last["time_ns"]),
        kept_ns=time.time_ns(),
        volumes={str(member.index): member.name for member in group.volumes},
    )


def _store_map(
    appliance: Appliance, group: GroupRecord, demotion: Demotion, sizes: dict[int, int], changed: dict[int, bytes]
) -> None:
    """The map of a demoted group: its own earlier bits, and those of the journals."""
    base = Position(demotion.base.sequence, demotion.base.data_position, demotion.base.time_ns)
    head = MapHead(base, MapState.SUSPENDED, SuspendedCause.DEMOTED)
    present = read_map(appliance, group)
    if present is None:
        path = str(GroupPaths(appliance.paths.group(group.name)).dirty_map)
        DirtyMap.create(path, group.uuid, base, sizes, head, changed).close()
        return
    marks = DirtyMap.open(present.path, group.uuid)
    marks.renew(head, changed)
    marks.close()
