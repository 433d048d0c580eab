"""Demote: what was a primary becomes the secondary of the site that took over.

Owns the order (controller/LIFECYCLE.md). What this site has and the new
primary lacks is judged first, from the records themselves: the orphan tail is
counted and kept as a file, and every region that it or a direct write touched
is marked, so that the differential copy from the new primary brings these
volumes back in step. Only then the journal makes room for a fresh one that
begins where the new primary's does.
"""

from __future__ import annotations

import os
from contextlib import suppress

from controller import durable, plans, serving
from controller.api.lifecycle import DemoteOrder, DemoteResult
from controller.api.models import Role, SplitMode
from controller.appliance import Appliance
from controller.errors import ConflictError, PairvolError
from controller.groups import orphans, storage
from controller.groups.fence import stop_serving
from controller.groups.marker_list import MarkerList
from controller.groups.standing import forget_copies
from controller.groups.suspension import read_map
from controller.journal.pointers import Pointer, PointerPage, Position
from controller.paths import GroupPaths
from controller.state import Demotion, GroupRecord, Phase
from controller.units import counted

_ROLES = (Role.PRIMARY, Role.FENCED, Role.TAKEN_OVER)
_POINTERS = (Pointer.READ_SCHEDULED, Pointer.ALREADY_READ, Pointer.RESTORE_SCHEDULED, Pointer.ALREADY_RESTORED)


def demote(appliance: Appliance, name: str, order: DemoteOrder) -> DemoteResult:
    """Follow a new primary from now on. Given again it converges."""
    members = [volume.name for volume in appliance.store.document.group(name).volumes]
    with appliance.locks.hold(groups=[name], volumes=members):
        group = appliance.store.document.group(name)
        if group.role is Role.SECONDARY and group.generation == order.generation and group.phase is Phase.READY:
            return _result(appliance, name)
        same = group.demotion is not None and group.demotion.generation == order.generation
        if not (group.phase is Phase.DEMOTING and same):
            _refuse(group, order)
            with appliance.store.change() as draft:
                record = draft.group(name)
                record.phase = Phase.DEMOTING
                record.demotion = Demotion(
                    generation=order.generation,
                    base=order.base,
                    covered_sequence=order.covered_sequence,
                    peer_site=order.peer_site or group.peer_site,
                )
        return finish(appliance, name)


def finish(appliance: Appliance, name: str) -> DemoteResult:
    """The steps of a demotion whose intent is recorded; each may be done twice."""
    group = appliance.store.document.group(name)
    demotion = group.demotion
    assert demotion is not None
    stop_serving(appliance, group)
    serving.retire_journal(appliance, name)
    appliance.permits.end_wait(name)
    appliance.open_groups.drop(group)
    if not demotion.judged:
        orphans.judge(appliance, group, demotion)
    group = appliance.store.document.group(name)
    _keep_tail(appliance, group)
    _make_room(appliance, group, demotion)
    appliance.open_groups.drop(group)  # whoever asked for the state meanwhile has opened the files of before
    with appliance.store.change() as draft:
        record = draft.group(name)
        record.role, record.generation, record.phase = Role.SECONDARY, demotion.generation, Phase.READY
        record.peer_site, record.readers, record.demotion = demotion.peer_site, [], None
        record.acquisition, record.gap_sequence, record.quiesced, record.yields_to = False, None, False, None
        record.fenced_by, record.fence_reason, record.split = None, "", SplitMode.OFF
        record.way = record.next_generation = None
        record.composition = appliance.open_groups.get(record).composition()
    serving.retire(appliance, plans.group_server(group))
    with suppress(PairvolError):  # what hinders it is told whenever the worker is asked for
        appliance.workers.start(appliance.store.document.group(name), appliance.store.document)
    result = _result(appliance, name)
    orphan = result.orphan
    kept = f"{counted(orphan.journals, 'journal')} of its own kept as {orphan.name}" if orphan else "nothing was lost"
    appliance.events.emit(
        "warning" if orphan else "info",
        "group.demoted",
        f"group {name} follows {demotion.peer_site} under generation {demotion.generation}: {kept}",
        result.model_dump(mode="json"),
        group=name,
    )
    return result


def _refuse(group: GroupRecord, order: DemoteOrder) -> None:
    if group.role not in _ROLES or group.phase is not Phase.READY or order.generation <= group.generation:
        raise ConflictError(
            f"cannot demote group {group.name} under generation {order.generation}: it is {group.role} here"
            f" at generation {group.generation} ({group.phase})",
            hint="A primary follows only a site of a higher generation.",
            group=group.name,
            generation=group.generation,
        )


def _keep_tail(appliance: Appliance, group: GroupRecord) -> None:
    """Give the journal with the orphan tail the name under which it is kept, if it lies in our own directory."""
    files = GroupPaths(appliance.paths.group(group.name))
    if group.journal_pool is None and files.journal.is_symlink():  # to a pool volume, which the tail keeps
        durable.remove(files.journal)
    orphan = group.orphans[-1] if group.orphans else None
    if orphan is None or orphan.pool is not None:
        return
    with durable.refusals(orphan.path):
        if not os.path.exists(orphan.path) and files.journal.exists():
            files.orphans.mkdir(mode=0o700, exist_ok=True)
            os.rename(files.journal, orphan.path)
        if files.orphans.exists():  # who gave it that name may have failed, or died, before the name was durable
            for directory in (files.orphans, files.directory):
                durable.sync_directory(directory)


def _make_room(appliance: Appliance, group: GroupRecord, demotion: Demotion) -> None:
    """A fresh journal under the new generation, and pointers that begin where the new primary's journal does."""
    files = GroupPaths(appliance.paths.group(group.name))
    storage.check_journal_room(appliance, group)
    storage.lay_out(appliance, group.model_copy(update={"generation": demotion.generation}))
    fresh = files.directory / ".pointers.new"
    base = Position(demotion.base.sequence, demotion.base.data_position, demotion.base.time_ns)
    with durable.refusals(files.pointers):
        fresh.unlink(missing_ok=True)
        page = PointerPage.create(str(fresh))
        for pointer in _POINTERS:
            page.publish(pointer, base)
        page.persist()
        page.close()
        os.rename(fresh, files.pointers)
    storage.link_exports(group, files)
    MarkerList(files.markers).cut(demotion.base.sequence)
    forget_copies(files)


def _result(appliance: Appliance, name: str) -> DemoteResult:
    group = appliance.store.document.group(name)
    own = read_map(appliance, group)
    latest = group.orphans[-1] if group.orphans else None
    mine = latest is not None and latest.superseded_by == group.generation
    return DemoteResult(
        generation=group.generation,
        orphan=latest if mine else None,
        dirty_bytes=own.dirty_bytes() if own is not None else 0,
    )
