"""Volumes join a living group and leave it; the others are written and replicated all the while.

Owns the steps at one site (controller/LIFECYCLE.md, "Volumes join and
leave"); the order between the two sites is the agents'. A volume that joined a
primary is copied as changed regions are, so nothing here copies.
"""

from __future__ import annotations

from controller import plans, serving, volumes
from controller.api.lifecycle import MembersJoin, MembersLeave
from controller.api.models import Group, GroupVolume, Role
from controller.appliance import Appliance
from controller.errors import CapacityError, ConflictError, PairvolError, PeerError
from controller.groups.indices import free_indices
from controller.groups.steady import refuse_unsteady
from controller.groups.view import show
from controller.journal.pointers import Pointer
from controller.state import GroupRecord, Phase, VolumeRecord


def join(appliance: Appliance, name: str, order: MembersJoin) -> Group:
    """Take volumes into a group. Given again it converges; with `check` it only says why it could not."""
    names = [volume.name for volume in order.volumes]
    with appliance.locks.hold(groups=[name], volumes=names):
        group = appliance.store.document.group(name)
        if all(volume in group.volumes for volume in order.volumes) or group.joining == order.volumes:
            if group.joining:
                finish_join(appliance, name)
            return show(appliance, name)
        _refuse_join(appliance, group, order.volumes)
        if order.check:
            return show(appliance, name)
        if group.role is Role.PRIMARY:
            with appliance.store.change() as draft:
                draft.group(name).joining = order.volumes
            try:
                finish_join(appliance, name)
            except PeerError:
                raise  # it may have been done: the start, or the same order, finds out
            except PairvolError:
                take_back_join(appliance, name)
                raise
        else:
            _join_secondary(appliance, group, order.volumes)
    _tell_event(appliance, name, "group.joined", f"{', '.join(names)} joined group {name}")
    return show(appliance, name)


def leave(appliance: Appliance, name: str, order: MembersLeave) -> Group:
    """Let volumes go: each is then by itself. Given again it converges; with `check` it only says why it could not."""
    with appliance.locks.hold(groups=[name], volumes=order.volumes):
        group = appliance.store.document.group(name)
        gone = [member for member in group.volumes if member.name in order.volumes]
        if not gone:
            return show(appliance, name)
        if len(gone) == len(group.volumes):
            raise ConflictError(
                f"cannot take {', '.join(order.volumes)} out of group {name}: it would be empty",
                hint=f'End the pair instead: "pairvol pair delete {name}".',
                group=name,
            )
        if not group.leaving:
            refuse_unsteady(appliance, group, f"take volumes out of group {name}")
        if group.role is Role.PRIMARY:
            server = plans.group_server(group)
            for member in gone:
                serving.refuse_connected(appliance, server, f"take {member.name} out of {name}", volume=member.name)
        if order.check:
            return show(appliance, name)
        if group.role is Role.PRIMARY:
            with appliance.store.change() as draft:
                draft.group(name).leaving = gone
            finish_leave(appliance, name)
        else:
            _leave_secondary(appliance, group, gone, order)
    _tell_event(appliance, name, "group.left", f"{', '.join(order.volumes)} left group {name}")
    return show(appliance, name)


def settle(appliance: Appliance, name: str) -> None:
    """At a start: go on with what a crash cut short."""
    group = appliance.store.document.group(name)
    members = [volume.name for volume in (*group.joining, *group.leaving)]
    with appliance.locks.hold(groups=[name], volumes=members):
        group = appliance.store.document.group(name)
        if group.role is not Role.PRIMARY and group.joining:
            take_back_join(appliance, name)
        if group.role is not Role.PRIMARY or appliance.permits.awaits(name):
            return
        if group.leaving:
            finish_leave(appliance, name)
        if group.joining:
            try:
                finish_join(appliance, name)
            except ConflictError:
                take_back_join(appliance, name)


def finish_join(appliance: Appliance, name: str) -> None:
    """The steps at a primary whose intent is recorded; each may be done twice."""
    document = appliance.store.document
    group = document.group(name)
    server, joining = plans.group_server(group), group.joining
    serving.wait_served(appliance, server)
    for volume in joining:
        serving.retire(appliance, plans.own_server(document.volume(volume.name)))
    after = group.model_copy(update={"volumes": [*group.volumes, *joining], "joining": [], "server": server})
    told = plans.group_document(after, document, appliance.config, appliance.paths)
    indices = {volume.index for volume in joining}
    new = [volume for volume in told["volumes"] if volume["index"] in indices]
    serving.command(appliance, server, "join", volumes=new)
    serving.tell(appliance, server, told)  # not before: who serves a volume has it marked to be copied
    with appliance.store.change() as draft:
        record = draft.group(name)
        record.volumes, record.joining, record.server = after.volumes, [], server
        for index in indices:
            record.retired.pop(index, None)


def take_back_join(appliance: Appliance, name: str) -> None:
    """The server refused: the volumes are by themselves again."""
    joining = appliance.store.document.group(name).joining
    with appliance.store.change() as draft:
        draft.group(name).joining = []
    for volume in joining:
        _serve_own(appliance, volume.name)


def finish_leave(appliance: Appliance, name: str) -> None:
    """The steps at a primary whose intent is recorded; each may be done twice."""
    document = appliance.store.document
    group = document.group(name)
    server, leaving = plans.group_server(group), group.leaving
    serving.wait_served(appliance, server)
    names = [volume.name for volume in leaving]
    answer = serving.command(appliance, server, "leave", volumes=names)
    after = _without(group, leaving, server)
    serving.tell(appliance, server, plans.group_document(after, document, appliance.config, appliance.paths))
    _forget(appliance, name, leaving, server, int(answer["position"]["sequence"]))


def _leave_secondary(appliance: Appliance, group: GroupRecord, gone: list[GroupVolume], order: MembersLeave) -> None:
    page = appliance.open_groups.get(group).page
    restored = page.read(Pointer.ALREADY_RESTORED).sequence
    if restored < (order.sequence or 0):
        raise ConflictError(
            f"cannot take {gone[0].name} out of group {group.name}: journals up to {order.sequence} may speak of it,"
            f" restored are those up to {restored}",
            hint="Let them be restored first.",
            group=group.name,
            restored=restored,
        )
    appliance.workers.stop(group.name)
    _forget(appliance, group.name, gone, plans.group_server(group), order.sequence or 0)
    appliance.workers.start(appliance.store.document.group(group.name), appliance.store.document)


def _forget(appliance: Appliance, name: str, gone: list[GroupVolume], server: str, sequence: int) -> None:
    """Out of the group, in one document; then each volume is served by itself."""
    with appliance.store.change() as draft:
        record = draft.group(name)
        record.volumes, record.leaving = _without(record, gone, server).volumes, []
        record.server = server
        for volume in gone:
            record.retired[volume.index] = sequence
            known = draft.volume(volume.name)
            known.server = None
            own = plans.new_own_server(draft, volume.name)
            known.server = own if own != plans.own_server(known) else None
    for volume in gone:
        _serve_own(appliance, volume.name)


def _without(group: GroupRecord, gone: list[GroupVolume], server: str) -> GroupRecord:
    indices = {volume.index for volume in gone}
    left = [volume for volume in group.volumes if volume.index not in indices]
    return group.model_copy(update={"volumes": left, "leaving": [], "server": server})


def _serve_own(appliance: Appliance, name: str) -> None:
    volume = appliance.store.document.volume(name)
    server = plans.own_server(volume)
    serving.serve(appliance, server, plans.own_document(volume, appliance.paths))
    serving.wait_served(appliance, server)


def _join_secondary(appliance: Appliance, group: GroupRecord, joining: list[GroupVolume]) -> None:
    made = [_make(appliance, volume) for volume in joining]
    for record in made:
        serving.retire(appliance, plans.own_server(record))
    appliance.workers.stop(group.name)
    with appliance.store.change() as draft:
        for record in made:
            draft.volume(record.name).phase = Phase.READY
        draft.group(group.name).volumes += joining
        for volume in joining:
            draft.group(group.name).retired.pop(volume.index, None)
    appliance.workers.start(appliance.store.document.group(group.name), appliance.store.document)


def _make(appliance: Appliance, wanted: GroupVolume) -> VolumeRecord:
    """The volume's record; one that does not exist is made. A crash before it joined removes it again."""
    document = appliance.store.document
    if wanted.name in document.volumes:
        return document.volume(wanted.name)
    record = volumes.new_record(appliance, wanted.name, wanted.size_bytes, None)
    record.phase = Phase.CREATING
    with appliance.store.change() as draft:
        draft.volumes[wanted.name] = record
    volumes.make_backing(record)
    return record


def _refuse_join(appliance: Appliance, group: GroupRecord, joining: list[GroupVolume]) -> None:
    refuse_unsteady(appliance, group, f"add volumes to group {group.name}")
    document, free = appliance.store.document, free_indices(appliance, group)
    for volume in joining:
        known, other = document.volumes.get(volume.name), document.group_of(volume.name)
        if other is not None:
            raise ConflictError(
                f"volume {volume.name} is already in group {other.name}",
                hint="A volume is in one group at a time.",
                volume=volume.name,
                group=other.name,
            )
        if volume.index not in free:
            raise ConflictError(
                f"cannot add {volume.name} to group {group.name} as number {volume.index}: that number is taken",
                hint="Journals of another volume may still carry it.",
                group=group.name,
            )
        if known is None and group.role is Role.SECONDARY:
            continue
        if document.volume(volume.name).size_bytes != volume.size_bytes:
            raise CapacityError(
                f"volume {volume.name} has {document.volume(volume.name).size_bytes} bytes, the pair needs "
                f"{volume.size_bytes}",
                hint="Both volumes of a pair have the same size: create it with that size.",
                volume=volume.name,
            )
        own = plans.own_server(document.volume(volume.name))
        serving.refuse_connected(appliance, own, f"add volume {volume.name} to group {group.name}")


def _tell_event(appliance: Appliance, group: str, event: str, words: str) -> None:
    appliance.events.emit("info", event, words, group=group)
