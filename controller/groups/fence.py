"""Fence and serve: whether a primary's volumes are served to hosts.

A fenced group serves nothing and keeps everything; its journal can still be
read by the other site. A primary that comes back serves when it is told, by a
site that knows the other one, or after a while by itself if so configured
(controller/groups/permits.py).
"""

from __future__ import annotations

from contextlib import suppress

from controller import plans, serving
from controller.api.lifecycle import ServeOrder
from controller.api.models import FenceRequest, Group, Role, ServerState
from controller.appliance import Appliance
from controller.errors import ConflictError, PairvolError
from controller.groups import members
from controller.groups.primary import require_primary
from controller.groups.suspension import read_map
from controller.groups.view import show
from controller.journal.pointers import Pointer
from controller.journal.recovery import scan
from controller.journal.volume import JournalVolume
from controller.state import GroupRecord
from controller.volume.dirty_file import MapState


def fence(appliance: Appliance, name: str, request: FenceRequest) -> Group:
    """Stop serving because a higher generation exists elsewhere; keep everything. Durable before it acts."""
    with appliance.locks.hold(groups=[name]):
        group = appliance.store.document.group(name)
        if group.role is not Role.FENCED:
            _refuse(group, request)
            with appliance.store.change() as draft:
                record = draft.group(name)
                record.role, record.fenced_by, record.fence_reason = Role.FENCED, request.generation, request.reason
                record.quiesced, record.yields_to = False, None
            appliance.events.emit(
                "warning",
                "group.fenced",
                f"group {name} fenced by generation {request.generation}: {request.reason}",
                {"generation": request.generation},
                group=name,
            )
        elif request.generation > (group.fenced_by or 0):
            with appliance.store.change() as draft:
                draft.group(name).fenced_by = request.generation
        appliance.permits.end_wait(name)
        stop_serving(appliance, group)
        with suppress(PairvolError, OSError):  # a journal that cannot be read is told by whoever needs it
            _tell_end(appliance, group)
    return show(appliance, name)


def _tell_end(appliance: Appliance, group: GroupRecord) -> None:
    """Let the pointers speak of all that is in the journal: a server that was killed told of what it had synced.

    Nobody writes there any more, which the lock of the journal proves. While changes are tracked instead, what may
    be found beyond the end belongs to nothing.
    """
    found = read_map(appliance, group)
    if found is not None and found.head.state is not MapState.RESYNC:
        return
    journal = JournalVolume.open(group.journal_path, writable=True, group_uuid=group.uuid)
    try:
        page = appliance.open_groups.get(group).page
        known = page.read(Pointer.DURABLE)
        end, _ = scan(journal, known)
        if end.sequence > known.sequence:
            journal.sync()
            page.publish(Pointer.JOURNAL_IN, end)
            page.publish(Pointer.DURABLE, end)
    finally:
        journal.close()


def stop_serving(appliance: Appliance, group: GroupRecord) -> None:
    """End the volume server. No write is acknowledged from here on, and what was is durable, in journal or volume."""
    server = plans.group_server(group)
    told = serving.told(appliance, server)
    if told is not None:
        for volume in told["volumes"]:
            volume["writable"] = False
        serving.tell(appliance, server, told)
    if appliance.servers.state(server) is ServerState.RUNNING:
        with suppress(PairvolError):  # one that does not listen is ended all the same
            for member in group.volumes:
                serving.command(appliance, server, "writable", volume=member.name, writable=False)
            serving.command(appliance, server, "flush")
    appliance.servers.stop(server)
    appliance.statuses.forget(server)


def serve(appliance: Appliance, name: str, order: ServeOrder) -> None:
    """Serve hosts as primary, or refuse their writes for a planned takeover. Given again it converges."""
    with appliance.locks.hold(groups=[name]):
        group = require_primary(appliance, name)
        if order.generation != group.generation:
            raise ConflictError(
                f"cannot serve group {name} under generation {order.generation}: it is at {group.generation}",
                hint="Another site was primary since; look at the pair's status.",
                group=name,
                generation=group.generation,
            )
        _refuse_yielding(group, order)
        changed, waited = group.quiesced == order.on, appliance.permits.awaits(name)
        with appliance.store.change() as draft:
            record = draft.group(name)
            record.quiesced = not order.on
            record.yields_to = None if order.on else order.successor or record.yields_to
        appliance.permits.end_wait(name)
        start_serving(appliance, name)
        server = plans.group_server(group)
        for member in group.volumes:
            serving.command(appliance, server, "writable", volume=member.name, writable=order.on)
        if not order.on:
            serving.command(appliance, server, "flush")
    if waited:
        members.settle(appliance, name)  # what its start had to leave as it was
    if changed:
        words = "takes writes" if order.on else "refuses writes for a planned takeover"
        event = "group.serving" if order.on else "group.quiesced"
        appliance.events.emit("info", event, f"group {name} {words}", group=name)


def start_serving(appliance: Appliance, name: str) -> None:
    """Begin to serve as the state says, and wait until it does."""
    serving.wait_served(appliance, begin_serving(appliance, name))


def begin_serving(appliance: Appliance, name: str) -> str:
    """Begin to serve as the state says; the server's id. Returns at once."""
    document = appliance.store.document
    group = document.group(name)
    server = plans.group_server(group)
    serving.serve(appliance, server, plans.group_document(group, document, appliance.config, appliance.paths))
    return server


def _refuse_yielding(group: GroupRecord, order: ServeOrder) -> None:
    """The other site may serve under the generation that was promised to it, unless somebody knows that it does not."""
    if order.on and group.yields_to is not None and order.successor != group.yields_to:
        raise ConflictError(
            f"cannot serve group {group.name}: it refuses writes for a takeover of generation {group.yields_to}, "
            "which may have happened",
            hint=f'End it with "pairvol pair takeover {group.name}"; '
            f'"pairvol journal start {group.name}" asks the other site, and calls it off.',
            group=group.name,
            generation=group.yields_to,
        )


def _refuse(group: GroupRecord, request: FenceRequest) -> None:
    if group.role not in (Role.PRIMARY, Role.TAKEN_OVER) or request.generation <= group.generation:
        raise ConflictError(
            f"cannot fence group {group.name}: it is {group.role} here at generation {group.generation}",
            hint="Only a primary is fenced, and only by a higher generation.",
            group=group.name,
            generation=group.generation,
        )
