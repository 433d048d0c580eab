"""Delete a journal group, or undo one that was not finished.

Owns the steps (controller/STATE.md), each of which may be done twice. Data
volumes stay and are served again; volumes that an unfinished creation made go
with it. Journals that exist nowhere else are dropped only with force.
"""

from __future__ import annotations

import logging

from controller import plans, serving, volumes
from controller.api.models import AcquisitionMode, Role, ServerState
from controller.appliance import Appliance
from controller.copy.worker import SecondaryGroup
from controller.drills import commands as drills
from controller.errors import ConflictError, PairvolError, StorageError
from controller.groups import storage
from controller.journal.pointers import Pointer, PointerPage
from controller.paths import GroupPaths
from controller.state import GroupRecord, Phase
from controller.units import counted

_log = logging.getLogger("pairvol.groups")


def delete(appliance: Appliance, name: str, *, force: bool = False) -> None:
    """Delete a group; without force nothing that is not elsewhere is lost."""
    document = appliance.store.document
    members = [volume.name for volume in document.group(name).volumes]
    with appliance.locks.hold(groups=[name], volumes=members):
        group = appliance.store.document.group(name)
        if not force and group.phase is Phase.READY:
            drills.refuse_open(group, f"delete group {name}")
            _refuse_loss(appliance, group)
        with appliance.store.change() as draft:
            draft.group(name).phase = Phase.DELETING
        finish(appliance, name, force=force)
    appliance.events.emit("info", "group.deleted", f"group {name} deleted", group=name)


def undo(appliance: Appliance, name: str) -> None:
    """Take back a creation that failed. What cannot be taken back now is finished at the next start."""
    with appliance.store.change() as draft:
        draft.group(name).phase = Phase.DELETING
    try:
        finish(appliance, name, force=True)
    except (PairvolError, OSError) as error:
        _log.warning("cannot undo the creation of group %s: %s", name, error)


def finish(appliance: Appliance, name: str, *, force: bool) -> None:
    """The steps of deletion; the phase is recorded already."""
    drills.end_all(appliance, name, "the group was deleted")
    group = appliance.store.document.group(name)
    serving.retire_journal(appliance, name)
    appliance.permits.withdraw(name)
    if group.role is Role.SECONDARY:
        appliance.workers.stop(name)
        serving.retire(appliance, plans.group_server(group))
    else:
        _release_volumes(appliance, group, force=force)
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


def _refuse_loss(appliance: Appliance, group: GroupRecord) -> None:
    _refuse_orphans(group)
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


def _refuse_orphans(group: GroupRecord) -> None:
    if group.orphans:
        journals = sum(orphan.journals for orphan in group.orphans)
        raise ConflictError(
            f"group {group.name} keeps {counted(journals, 'journal')} that no other site has",
            hint="Look at them and drop them; or add --force.",
            group=group.name,
            journals=journals,
        )


def _release_volumes(appliance: Appliance, group: GroupRecord, *, force: bool) -> None:
    """Bring the volumes' server back to direct writes without a journal.

    What the server was told says whether it may have the journal open. One
    that is down is started with it, so that acknowledged writes that are only
    in the journal reach the volume.
    """
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
            _abandon(appliance, server, group, error)
    if _shared(appliance, group):
        serving.retire(appliance, server)
        return
    member = appliance.store.document.volume(group.volumes[0].name)
    serving.tell(appliance, server, plans.own_document(member, appliance.paths))
    if appliance.servers.state(server) is ServerState.RUNNING:
        if told is not None and told.get("tracking") is not None:
            serving.command(appliance, server, "stop")
        serving.command(appliance, server, "writable", volume=member.name, writable=True)


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


def _abandon(appliance: Appliance, server: str, group: GroupRecord, error: PairvolError) -> None:
    """Forced: end the server as it is. Acknowledged writes that are only in the journal are lost, and it is said."""
    lost = _only_in_journal(appliance, group)
    count = "an unknown number of journals" if lost is None else counted(lost, "journal")
    appliance.servers.stop(server)
    appliance.events.emit(
        "error",
        "group.journal_dropped",
        f"journal of group {group.name} dropped by force with {count} not in the volume: {error.message}",
        {"journals": lost},
        group=group.name,
    )


def _only_in_journal(appliance: Appliance, group: GroupRecord) -> int | None:
    """How many journals are in no checkpoint, as the pointer page says; None when it cannot be read.

    The journal volume itself may be gone or damaged: that is why it is dropped.
    """
    try:
        page = PointerPage.open(str(GroupPaths(appliance.paths.group(group.name)).pointers))
    except PairvolError:
        return None
    try:
        return page.read(Pointer.JOURNAL_IN).sequence - page.read(Pointer.CHECKPOINT).sequence
    finally:
        page.close()
