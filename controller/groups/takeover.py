"""Takeover: the secondary volumes begin to serve hosts under a higher generation.

Owns the order (controller/LIFECYCLE.md): the volumes come to a consistent
state, the map of what changes from there on is durable, the new generation is
durable in the journal and in the state, and only then the first write is
served. Whether to take over is decided elsewhere.
"""

from __future__ import annotations

import time

from controller import plans, serving
from controller.api.models import Position, Role, SplitMode, TakeoverRequest, TakeoverResult
from controller.appliance import Appliance
from controller.drills import commands as drills
from controller.errors import ConflictError, PairvolError
from controller.groups import standing
from controller.groups.fence import begin_serving, start_serving
from controller.groups.ways import choose
from controller.state import GroupRecord, Phase, Way


def take_over(appliance: Appliance, name: str, request: TakeoverRequest) -> TakeoverResult:
    """Bring the volumes to a consistent state, raise the generation, serve. Given again it converges."""
    with appliance.locks.hold(groups=[name]):
        group = appliance.store.document.group(name)
        if group.role is Role.TAKEN_OVER and group.generation == request.generation:
            began = time.monotonic()
            start_serving(appliance, name)
            return _result(appliance, name, group.way, 0, began)
        if group.phase is Phase.TAKING_OVER and group.next_generation == request.generation:
            return finish(appliance, name)  # what hindered it may be gone
        _refuse(group, request)
        _begin(appliance, group, request)
        return finish(appliance, name)


def _begin(appliance: Appliance, group: GroupRecord, request: TakeoverRequest) -> None:
    """The intent with its way; no copy that would make it a wrong one begins any more."""
    worker = appliance.workers.get(group)
    worker.bar_copies(True)
    try:
        way = choose(worker, group, force=request.force)
        with appliance.store.change() as draft:
            record = draft.group(group.name)
            record.phase, record.next_generation, record.way = Phase.TAKING_OVER, request.generation, way
    except BaseException:
        worker.bar_copies(False)
        raise


def finish(appliance: Appliance, name: str) -> TakeoverResult:
    """The steps of a takeover whose intent is recorded. When restoring fails, the group is a secondary again."""
    began = time.monotonic()
    drills.end_all(appliance, name, "the group was taken over")
    document = appliance.store.document
    group = document.group(name)
    generation = group.next_generation or group.generation + 1
    way = group.way or Way.RESTORE
    serving.prepare(appliance, plans.group_server(group))
    journals = _make(appliance, group, generation, way)
    start_serving(appliance, name)
    result = _result(appliance, name, way, journals, began)
    appliance.events.emit(
        "warning",
        "group.takeover",
        f"group {name} taken over at sequence {result.restored.sequence}, generation {generation}",
        result.model_dump(mode="json"),
        group=name,
    )
    return result


def _make(appliance: Appliance, group: GroupRecord, generation: int, way: Way) -> int:
    """T2 to T8: the group stands by itself under its generation, and is served by nobody; journals restored."""
    journals = _restore(appliance, group, way) if way in (Way.RESTORE, Way.FORCED) else 0
    appliance.workers.stop(group.name)
    serving.retire(appliance, plans.group_server(group))
    appliance.open_groups.drop(group)
    standing.make(appliance, group, generation, way)
    with appliance.store.change() as draft:
        record = draft.group(group.name)
        record.role, record.generation, record.split = Role.TAKEN_OVER, generation, SplitMode.OFF
        record.phase, record.next_generation = Phase.READY, None
    return journals


def _restore(appliance: Appliance, group: GroupRecord, way: Way) -> int:
    """Restore what is here; how many journals that were."""
    try:
        worker = appliance.workers.start(group, appliance.store.document)
        if group.split is not SplitMode.OFF:
            serving.retire(appliance, plans.group_server(group))
            worker.hold(SplitMode.OFF)
        restored = worker.finish_restore()
        read = worker.snapshot().pointers["already_read"].sequence
        if way is Way.RESTORE and restored.sequence < read:
            raise ConflictError(
                f"journals {restored.sequence + 1}..{read} wait for a copy of changed regions",
                hint="Let the resync go on; or add --force to drop them.",
                group=group.name,
                journals=read - restored.sequence,
            )
    except PairvolError as error:
        _call_off(appliance, group.name, error)
        raise
    return restored.journals


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
    group = document.group(name)
    appliance.workers.renew(group, document)
    appliance.events.emit(
        "error", "group.takeover_failed", f"cannot take over group {name}: {error.message}", group=name
    )
    if plans.serves_volumes(group):  # split for reading, as before
        begin_serving(appliance, name)


def _result(appliance: Appliance, name: str, way: Way | None, journals: int, began: float) -> TakeoverResult:
    group = appliance.store.document.group(name)
    head = standing.head_of(appliance, group)
    restored = head.position
    return TakeoverResult(
        generation=group.generation,
        restored=Position(sequence=restored.sequence, data_position=restored.data_position, time_ns=restored.time_ns),
        journals_restored=journals,
        seconds=time.monotonic() - began,
        from_safe_point=way is Way.SAFE_POINT,
        journals_dropped=max(0, head.covered_sequence - restored.sequence),
    )
