"""Create a journal group: all of it, or nothing.

Owns the checks and the steps of creation (controller/STATE.md). A primary
group of one volume is made on the volume's live server, with clients
connected; volumes that are to share a server must be free of clients once.
"""

from __future__ import annotations

import uuid

from controller import plans, serving
from controller.api.models import Group, GroupCreate, Role
from controller.appliance import Appliance
from controller.errors import CapacityError, ConflictError, PairvolError, UsageError
from controller.groups import delete, storage
from controller.groups.view import show
from controller.state import GroupRecord, Phase, StateDocument
from controller.volumes import make_backing, new_record


def create(appliance: Appliance, request: GroupCreate) -> Group:
    """Make a group; the same request given again answers the group that is there."""
    _check_request(request)
    names = [volume.name for volume in request.volumes]
    with appliance.locks.hold(groups=[request.name], volumes=names):
        present = appliance.store.document.groups.get(request.name)
        if present is not None:
            _refuse_other(present, request)
            return show(appliance, request.name)
        _refuse_clients(appliance, request)
        with appliance.store.change() as document:
            _add(appliance, document, request)
        try:
            group = appliance.store.document.group(request.name)
            if request.role is Role.PRIMARY:
                _make_primary(appliance, group)
            else:
                _make_secondary(appliance, group)
            with appliance.store.change() as document:
                record = document.group(request.name)
                record.phase, record.made_volumes = Phase.READY, []
                record.composition = appliance.open_groups.get(record).composition()
        except (PairvolError, OSError):
            delete.undo(appliance, request.name)
            raise
    appliance.events.emit(
        "info", "group.created", f"group {request.name} created as {request.role}", group=request.name
    )
    return show(appliance, request.name)


def _check_request(request: GroupCreate) -> None:
    if request.role not in (Role.PRIMARY, Role.SECONDARY):
        raise UsageError(f"a group cannot be created as {request.role}", hint="Create it as primary or secondary.")
    try:
        uuid.UUID(request.uuid)
    except ValueError as error:
        raise UsageError(f"group uuid {request.uuid!r} is not a UUID", hint="Give one as 8-4-4-4-12 digits.") from error
    if sorted(volume.index for volume in request.volumes) != list(range(len(request.volumes))):
        raise UsageError(
            f"volumes of group {request.name} are not numbered from 0 without gaps", hint="Number them 0, 1, 2, ..."
        )
    names = [volume.name for volume in request.volumes]
    if len(set(names)) != len(names):
        raise UsageError(f"group {request.name} names a volume twice", hint="Name each volume once.")


def _refuse_other(present: GroupRecord, request: GroupCreate) -> None:
    same = (present.uuid, present.role, present.volumes) == (request.uuid, request.role, request.volumes)
    if not same or present.phase is not Phase.READY:
        raise ConflictError(
            f"group {request.name} already exists as {present.role} ({present.phase})",
            hint='Choose another name, or see "pairvol pair list".',
            group=request.name,
            uuid=present.uuid,
        )


def _refuse_clients(appliance: Appliance, request: GroupCreate) -> None:
    """A volume whose server has to end must have no clients; one primary volume keeps its server."""
    if request.role is Role.PRIMARY and len(request.volumes) == 1:
        return
    for volume in request.volumes:
        serving.refuse_connected(
            appliance, _own_server(appliance, volume.name), f"put volume {volume.name} into group {request.name}"
        )


def _add(appliance: Appliance, document: StateDocument, request: GroupCreate) -> None:
    """Check against the state and record the intent."""
    made = []
    for volume in request.volumes:
        if volume.name not in document.volumes and request.role is Role.SECONDARY:
            document.volumes[volume.name] = new_record(appliance, volume.name, volume.size_bytes, None)
            made.append(volume.name)
            continue
        known = document.volume(volume.name)
        other = document.group_of(volume.name)
        if other is not None:
            raise ConflictError(
                f"volume {volume.name} is already in group {other.name}",
                hint="A volume is in one group at a time.",
                volume=volume.name,
                group=other.name,
            )
        if known.size_bytes != volume.size_bytes:
            raise CapacityError(
                f"volume {volume.name} has {known.size_bytes} bytes, the pair needs {volume.size_bytes}",
                hint="Both volumes of a pair have the same size: create it with that size.",
                volume=volume.name,
            )
    group_server = plans.new_group_server(document, request.volumes, request.name)
    for server in (group_server, plans.journal_server(request.name), plans.source_server(request.name)):
        appliance.paths.check_server(server)
    room = storage.choose_journal(appliance, document, request)
    document.groups[request.name] = GroupRecord(
        name=request.name,
        uuid=request.uuid,
        role=request.role,
        generation=request.generation,
        peer_site=request.peer_site,
        volumes=request.volumes,
        server=group_server,
        journal_path=room.path,
        journal_bytes=room.size_bytes,
        journal_pool=room.pool,
        journal_members=list(room.members),
        journal_visible=request.journal_visible,
        on_full=request.on_full,
        acquisition=request.role is Role.PRIMARY,
        readers=[request.peer_site] if request.role is Role.PRIMARY else [],
        phase=Phase.CREATING,
        made_volumes=made,
    )


def _make_primary(appliance: Appliance, group: GroupRecord) -> None:
    storage.make_journal(appliance, group)
    settled = group.model_copy(update={"phase": Phase.READY})
    server = plans.group_server(group)
    document = plans.group_document(settled, appliance.store.document, appliance.config, appliance.paths)
    if len(group.volumes) == 1:
        serving.wait_served(appliance, server)
        serving.tell(appliance, server, document)
        serving.command(appliance, server, "start", journal=document["journal"])
    else:
        for volume in group.volumes:
            serving.retire(appliance, _own_server(appliance, volume.name))
        serving.serve(appliance, server, document)
        serving.wait_served(appliance, server)
    serving.serve_journal(appliance, group)
    serving.wait_served(appliance, plans.journal_server(group.name))
    serving.wait_served(appliance, plans.source_server(group.name))


def _make_secondary(appliance: Appliance, group: GroupRecord) -> None:
    document = appliance.store.document
    for volume in group.volumes:
        make_backing(document.volume(volume.name))
        serving.retire(appliance, _own_server(appliance, volume.name))
    storage.make_journal(appliance, group)
    appliance.workers.start(group, document)


def _own_server(appliance: Appliance, volume: str) -> str:
    known = appliance.store.document.volumes.get(volume)
    return plans.own_server(known) if known is not None else f"v-{volume}"
