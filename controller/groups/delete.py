"""Delete a journal group, or undo one that was not finished.

Owns the steps (controller/STATE.md), each of which may be done twice. Data
volumes stay and are served again; volumes that an unfinished creation made go
with it. Journals that exist nowhere else are dropped only with force, and
counted.
"""

from __future__ import annotations

import logging
from typing import Final

from controller import plans, serving, volumes
from controller.api.lifecycle import Dropped
from controller.api.models import AcquisitionMode, Role, ServerState
from controller.appliance import Appliance
from controller.copy.worker import SecondaryGroup
from controller.drills import commands as drills
from controller.errors import ConflictError, PairvolError, StorageError
from controller.groups import storage
from controller.journal.layout import BLOCK_BYTES
from controller.journal.pointers import Pointer, PointerPage
from controller.paths import GroupPaths
from controller.state import GroupRecord, Phase
from controller.units import counted, format_size

_UNRESTORED: Final = (Pointer.ALREADY_RESTORED, Pointer.ALREADY_READ)
_log = logging.getLogger("pairvol.groups")


def check(appliance: Appliance, name: str) -> None:
    """Refuse what `delete` without force would refuse; whatever comes of it, the group goes on as it was."""
    with appliance.locks.hold(groups=[name]):
        group = appliance.store.document.group(name)
        if group.phase is not Phase.READY:
            return
        drills.refuse_open(group, f"delete group {name}")
        _refuse_loss(appliance, group)
        if group.role is Role.SECONDARY:
            appliance.workers.renew(group, appliance.store.document)
        elif _shared(appliance, group) and plans.exports_journal(group):
            serving.serve_journal(appliance, group)


def delete(appliance: Appliance, name: str, *, force: bool = False) -> list[Dropped]:
    """Delete a group; without force nothing that is not elsewhere is lost. What was dropped, counted."""
    document = appliance.store.document
    members = [volume.name for volume in document.group(name).volumes]
    with appliance.locks.hold(groups=[name], volumes=members):
        group = appliance.store.document.group(name)
        if not force and group.phase is Phase.READY:
            drills.refuse_open(group, f"delete group {name}")
            _refuse_loss(appliance, group)
        dropped = _only_here(group, GroupPaths(appliance.paths.group(name)))
        with appliance.store.change() as draft:
            draft.group(name).phase = Phase.DELETING
        dropped += finish(appliance, name, force=force)
    facts = {"dropped": [each.model_dump(mode="json") for each in dropped]}
    appliance.events.emit("warning" if dropped else "info", "group.deleted", f"group {name} deleted", facts, group=name)
    return dropped


def undo(appliance: Appliance, name: str) -> None:
    """Take back a creation that failed. What cannot be taken back now is finished at the next start."""
    with appliance.store.change() as draft:
        draft.group(name).phase = Phase.DELETING
    try:
        finish(appliance, name, force=True)
    except (PairvolError, OSError) as error:
        _log.warning("cannot undo the creation of group %s: %s", name, error)


def finish(appliance: Appliance, name: str, *, force: bool) -> list[Dropped]:
    """The steps of deletion; the phase is recorded already. What a volume server that is no more had to give up."""
    dropped: list[Dropped] = []
    drills.end_all(appliance, name, "the group was deleted")
    group = appliance.store.document.group(name)
    serving.retire_journal(appliance, name)
    appliance.permits.end_wait(name)
    if group.role is Role.SECONDARY:
        appliance.workers.stop(name)
        serving.retire(appliance, plans.group_server(group))
    else:
        dropped = _release_volumes(appliance, group, force=force)
    storage.remove_journal(appliance, group)
    for made in group.made_volumes:
        volumes.remove(appliance, made)
    with appliance.store.change() as draft:
        del draft.groups[name]
    appliance.drivers.forget(name)
    document = appliance.store.document
    for member in (*group.volumes, *group.joining):
        if member.name in document.volumes:
            volume = document.volume(member.name)
            server, own = plans.own_server(volume), plans.own_document(volume, appliance.paths)
            serving.serve(appliance, server, own)
    return dropped


def _only_here(group: GroupRecord, files: GroupPaths) -> list[Dropped]:
    """Journals that no other site has, or that the volumes here would still get; none without force."""
    found = [Dropped(what="orphan", journals=each.journals, data_bytes=each.data_bytes) for each in group.orphans]
    span = {Role.FENCED: (Pointer.CONFIRMED, Pointer.DURABLE), Role.SECONDARY: _UNRESTORED}.get(group.role)
    if span is not None and group.phase is Phase.READY:
        what = "tail" if group.role is Role.FENCED else "secondary"
        found += _counted(files, what, *span)
    return found


def _counted(files: GroupPaths, what: str, first: Pointer, last: Pointer) -> list[Dropped]:
    """The journals between two pointers; the journal volume itself may be gone or damaged."""
    try:
        page = PointerPage.open(str(files.pointers))
    except PairvolError:
        return [Dropped(what=what, journals=None, data_bytes=None)]
    try:
        begin, end = page.read(first), page.read(last)
    finally:
        page.close()
    journals = max(0, end.sequence - begin.sequence)
    size = max(0, end.data_position - begin.data_position) * BLOCK_BYTES
    return [Dropped(what=what, journals=journals, data_bytes=size)] if journals else []


def _refuse_loss(appliance: Appliance, group: GroupRecord) -> None:
    _refuse_orphans(appliance, group)
    if group.role is Role.SECONDARY:
        try:
            _finish_restore(appliance.workers.get(group), group)
        except PairvolError:
            appliance.workers.renew(group, appliance.store.document)
            raise
    elif _shared(appliance, group):
        _refuse_hosts(appliance, group)
    if group.role is Role.FENCED:
        page = appliance.open_groups.get(group).page
        tail = page.read(Pointer.DURABLE).sequence - page.read(Pointer.CONFIRMED).sequence
        if tail <= 0:
            return
        raise ConflictError(
            f"group {group.name} is fenced and holds {counted(tail, 'journal')} that the other site has not",
            hint="Add --force to drop them; the volume itself keeps these writes.",
            group=group.name,
            journals=tail,
        )


def _refuse_hosts(appliance: Appliance, group: GroupRecord) -> None:
    """ConflictError while hosts use the volumes. Who reads them to copy them is connected too, but is no host."""
    serving.retire_journal(appliance, group.name)
    try:
        serving.refuse_connected(appliance, plans.group_server(group), f"delete group {group.name}")
    except ConflictError:
        if plans.exports_journal(group):
            serving.serve_journal(appliance, group)
        raise


def _finish_restore(worker: SecondaryGroup, group: GroupRecord) -> None:
    restored = worker.finish_restore().sequence
    read = worker.snapshot().pointers[str(Pointer.ALREADY_READ)].sequence
    if restored < read:
        raise ConflictError(
            f"group {group.name} holds journals that wait for a copy of changed regions: {read - restored}",
            hint="Resync the pair first; or add --force to drop them.",
            group=group.name,
            journals=read - restored,
        )


def _refuse_orphans(appliance: Appliance, group: GroupRecord) -> None:
    if group.orphans:
        journals = sum(orphan.journals for orphan in group.orphans)
        size = format_size(sum(orphan.data_bytes for orphan in group.orphans))
        site, name = appliance.config.site, group.name
        raise ConflictError(
            f"group {name} keeps {counted(journals, 'journal')} ({size}) at {site} that no other site has",
            hint=f'Look at them with "pairvol journal dump {name} --orphan latest", drop them with "pairvol journal '
            f'drop {name} --orphan latest", both typed at {site}; or add --force to drop them with the pair.',
            group=group.name,
            journals=journals,
        )


def _release_volumes(appliance: Appliance, group: GroupRecord, *, force: bool) -> list[Dropped]:
    """Bring the volumes' server back to direct writes without a journal.

    What the server was told says whether it may have the journal open. One
    that is down is started with it, so that acknowledged writes that are only
    in the journal reach the volume.
    """
    dropped: list[Dropped] = []
    server = plans.group_server(group)
    told = serving.told(appliance, server)
    if told is not None and told["journal"] is not None and told["journal"]["group_uuid"] == group.uuid:
        told["journal"]["acquire"] = False
        serving.serve(appliance, server, told)
        try:
            serving.wait_served(appliance, server)
            serving.command(appliance, server, "stop")
            _check_direct(appliance, server, group)
        except PairvolError as error:
            if not force:
                raise
            dropped = _abandon(appliance, server, group, error)
    if _shared(appliance, group):
        serving.retire(appliance, server)
        return dropped
    member = appliance.store.document.volume(group.volumes[0].name)
    serving.tell(appliance, server, plans.own_document(member, appliance.paths))
    if appliance.servers.state(server) is ServerState.RUNNING:
        if told is not None and told.get("tracking") is not None:
            serving.command(appliance, server, "stop")
        serving.command(appliance, server, "writable", volume=member.name, writable=True)
    return dropped


def _shared(appliance: Appliance, group: GroupRecord) -> bool:
    """Whether the volumes get other servers than the group's; the only volume of a group may have its own."""
    first = appliance.store.document.volume(group.volumes[0].name)
    return len(group.volumes) > 1 or plans.group_server(group) != plans.own_server(first)


def _check_direct(appliance: Appliance, server: str, group: GroupRecord) -> None:
    mode = appliance.statuses.get(server, fresh=True)["mode"]
    if mode != AcquisitionMode.DIRECT:
        raise StorageError(
            f"volume server {server} is {mode} and did not let go of the journal of group {group.name}",
            hint="See its log; --force drops the journal as it is.",
            group=group.name,
        )


def _abandon(appliance: Appliance, server: str, group: GroupRecord, error: PairvolError) -> list[Dropped]:
    """Forced: end the server as it is. Acknowledged writes that are only in the journal are lost, and it is said."""
    files = GroupPaths(appliance.paths.group(group.name))
    dropped = _counted(files, "primary", Pointer.CHECKPOINT, Pointer.JOURNAL_IN)
    lost = dropped[0].journals if dropped else 0
    count = "an unknown number of journals" if lost is None else counted(lost, "journal")
    appliance.servers.stop(server)
    appliance.events.emit(
        "error",
        "group.journal_dropped",
        f"journal of group {group.name} dropped by force with {count} not in the volume: {error.message}",
        {"journals": lost},
        group=group.name,
    )
    return dropped
