"""Takeover and fence: what changes which site serves the volumes.

Owns the order (controller/STATE.md): everything that is here is restored, the
new generation is durable in the journal and in the state, and only then the
first write is served. Whether to take over is decided elsewhere.
"""

from __future__ import annotations

import time
from contextlib import suppress

from controller import plans, serving
from controller.api.models import FenceRequest, Group, Position, Role, ServerState, TakeoverRequest, TakeoverResult
from controller.appliance import Appliance
from controller.errors import ConflictError, PairvolError
from controller.groups.secondary import refuse_inconsistent
from controller.groups.view import show
from controller.journal.pointers import Pointer
from controller.journal.volume import JournalVolume
from controller.state import GroupRecord, Phase


def take_over(appliance: Appliance, name: str, request: TakeoverRequest) -> TakeoverResult:
    """Restore what is here, raise the generation, serve the volumes. Given again it converges."""
    with appliance.locks.hold(groups=[name]):
        group = appliance.store.document.group(name)
        if group.role is Role.TAKEN_OVER and group.generation == request.generation:
            began = time.monotonic()
            _serve(appliance, name)
            return _result(appliance, name, 0, began)
        _refuse(group, request)
        refuse_inconsistent(appliance.workers.get(group), group)
        with appliance.store.change() as draft:
            draft.group(name).phase = Phase.TAKING_OVER
            draft.group(name).next_generation = request.generation
        return finish(appliance, name)


def finish(appliance: Appliance, name: str) -> TakeoverResult:
    """The steps of a takeover whose intent is recorded. When restoring fails, the group is a secondary again."""
    began = time.monotonic()
    document = appliance.store.document
    group = document.group(name)
    generation = group.next_generation or group.generation + 1
    try:
        restored = appliance.workers.start(group, document).finish_restore()
    except PairvolError as error:
        _call_off(appliance, name, error)
        raise
    appliance.workers.stop(name)
    journal = JournalVolume.open(group.journal_path, writable=True, group_uuid=group.uuid)
    try:
        journal.set_generation(generation)
    finally:
        journal.close()
    with appliance.store.change() as draft:
        record = draft.group(name)
        record.role, record.generation = Role.TAKEN_OVER, generation
        record.phase, record.next_generation = Phase.READY, None
    _serve(appliance, name)
    result = _result(appliance, name, restored.journals, began)
    appliance.events.emit(
        "warning",
        "group.takeover",
        f"group {name} taken over at sequence {result.restored.sequence}, generation {generation}",
        result.model_dump(mode="json"),
        group=name,
    )
    return result


def fence(appliance: Appliance, name: str, request: FenceRequest) -> Group:
    """Stop serving writes because a higher generation exists elsewhere; keep everything."""
    with appliance.locks.hold(groups=[name]):
        group = appliance.store.document.group(name)
        if group.role is not Role.FENCED:
            if group.role is not Role.PRIMARY or request.generation <= group.generation:
                raise ConflictError(
                    f"cannot fence group {name}: it is {group.role} here at generation {group.generation}",
                    hint="Only a primary is fenced, and only by a higher generation.",
                    group=name,
                    generation=group.generation,
                )
            with appliance.store.change() as draft:
                record = draft.group(name)
                record.role, record.fenced_by, record.fence_reason = Role.FENCED, request.generation, request.reason
            appliance.events.emit(
                "warning",
                "group.fenced",
                f"group {name} fenced by generation {request.generation}: {request.reason}",
                {"generation": request.generation},
                group=name,
            )
        _refuse_writes(appliance, name)
    return show(appliance, name)


def _refuse(group: GroupRecord, request: TakeoverRequest) -> None:
    if group.role is not Role.SECONDARY or group.phase is not Phase.READY:
        raise ConflictError(
            f"cannot take over {group.name}: it is {group.role} here at generation {group.generation} ({group.phase})",
            hint="Only a secondary is taken over.",
            group=group.name,
            generation=group.generation,
        )
    if request.generation <= group.generation:
        raise ConflictError(
            f"cannot take over {group.name} with generation {request.generation}: it is at {group.generation}",
            hint=f"Give at least {group.generation + 1}.",
            group=group.name,
            generation=group.generation,
        )


def _call_off(appliance: Appliance, name: str, error: PairvolError) -> None:
    with appliance.store.change() as draft:
        draft.group(name).phase, draft.group(name).next_generation = Phase.READY, None
    # A worker that was told to finish takes no more journals; a fresh one goes on from the durable point.
    document = appliance.store.document
    appliance.workers.renew(document.group(name), document)
    appliance.events.emit(
        "error", "group.takeover_failed", f"cannot take over group {name}: {error.message}", group=name
    )


def _serve(appliance: Appliance, name: str) -> None:
    document = appliance.store.document
    group = document.group(name)
    server = plans.group_server(group.volumes, name)
    serving.serve(appliance, server, plans.group_document(group, document, appliance.config, appliance.paths))
    serving.wait_served(appliance, server)


def _refuse_writes(appliance: Appliance, name: str) -> None:
    """Durably told first; then the live server, which is ended when it does not listen."""
    document = appliance.store.document
    group = document.group(name)
    server = plans.group_server(group.volumes, name)
    told = plans.group_document(group, document, appliance.config, appliance.paths)
    serving.tell(appliance, server, told)
    if appliance.servers.state(server) is not ServerState.RUNNING:
        return
    try:
        for volume in group.volumes:
            serving.command(appliance, server, "writable", volume=volume.name, writable=False)
    except PairvolError:
        appliance.servers.stop(server)
        serving.serve(appliance, server, told)
        with suppress(PairvolError):  # it refuses writes whenever it comes up
            serving.wait_served(appliance, server)


def _result(appliance: Appliance, name: str, journals: int, began: float) -> TakeoverResult:
    group = appliance.store.document.group(name)
    restored = appliance.open_groups.get(group).page.read(Pointer.ALREADY_RESTORED)
    return TakeoverResult(
        generation=group.generation,
        restored=Position(sequence=restored.sequence, data_position=restored.data_position, time_ns=restored.time_ns),
        journals_restored=journals,
        seconds=time.monotonic() - began,
    )
