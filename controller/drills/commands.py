"""What can be asked of drills: start, renew, stamp, stop, list. What ends one that nobody stopped is in unattended.py.

Owns the order. Restore is held before the record of a drill is durable, the
record before the first image is served; images are ended before the record
goes, and only then restore goes on. So an image never sees its volume change,
and a controller that starts finds every image that can be there in a record.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Final

from controller.api.drills import Drill, DrillImage, DrillStamp, DrillStart, DrillState
from controller.api.models import Role, SplitMode
from controller.appliance import Appliance
from controller.errors import ConflictError, NotFoundError, PairvolError
from controller.journal.pointers import Pointer, Position
from controller.state import GroupRecord, Phase

NAME_CHARACTERS_MAX: Final = 63  # of models.Name
UNCONFIRMED: Final = "nobody confirmed it"  # and no agent spoke for it any more, or its time was over


def start(appliance: Appliance, name: str, order: DrillStart) -> Drill:
    """Hold restore where it is, and serve a writable image of each volume."""
    with appliance.locks.hold(groups=[name]):
        group = appliance.store.document.group(name)
        _refuse(group)
        worker = appliance.workers.get(group)
        started_ns, began = time.time_ns(), time.monotonic()
        try:
            position = worker.hold_for_images(True)
            read = worker.snapshot().pointers[str(Pointer.ALREADY_READ)].sequence
            drill = _drill(appliance, group, position, started_ns).model_copy(
                update=order.model_dump() | {"read_sequence": read}
            )
            for image in drill.images:
                appliance.paths.check_server(image.server)
            _keep(appliance, drill)
        except BaseException:
            if not group.drills:
                with suppress(PairvolError):
                    worker.hold_for_images(False)
            raise
        try:
            document = appliance.store.document
            stores = [(image, document.volume(image.volume).backing) for image in drill.images]
            appliance.images.start(stores)
            drill = drill.model_copy(update={"state": DrillState.OPEN, "ready_seconds": time.monotonic() - began})
            _keep(appliance, drill)
            if drill.lease_seconds is not None:
                appliance.leases.renew(drill.number, drill.lease_seconds)
            appliance.ledger.write(drill)
        except (PairvolError, OSError) as error:  # who is told of an error must not find restore held
            if drill.lease_seconds is not None:  # the record of its end may be refused as well: then its lease ends it
                appliance.leases.renew(drill.number, drill.lease_seconds)
            finish(appliance, drill, DrillState.FAILED, str(error))
            raise
    words = f"group {name}: drill {drill.number} open at sequence {drill.sequence}, restore waits"
    appliance.events.emit("info", "drill.started", words, {"number": drill.number}, group=name)
    return drill


def renew(appliance: Appliance, name: str, number: int) -> Drill:
    """The agent that opened a drill speaks for it; in memory only. One that needs no lease stays as it is."""
    drill = _find(appliance, name, number)
    if drill.state is DrillState.OPEN and drill.lease_seconds is not None:
        appliance.leases.renew(number, drill.lease_seconds)  # without the lock: a lease of no drill comes to nothing
    return drill


def stamp(appliance: Appliance, name: str, number: int, order: DrillStamp) -> Drill:
    """Put into the ledger what was found out about a drill, open or over; one that is open may be confirmed."""
    with appliance.locks.hold(groups=[name]):
        drill = _find(appliance, name, number)
        known = {
            key: value for key in ("ready_seconds", "check", "attached") if (value := getattr(order, key)) is not None
        }
        if order.confirmed and drill.state is DrillState.OPEN:
            known["lease_seconds"] = None
        drill = drill.model_copy(update=known)
        if drill.state is DrillState.OPEN:
            _keep(appliance, drill)
        if drill.lease_seconds is None:
            appliance.leases.drop(number)
        appliance.ledger.write(drill)
    if order.check is not None:
        level, word = ("info", "passed") if order.check.passed else ("error", "failed")
        words = f"group {name}: check of drill {number} {word} at sequence {order.check.sequence}"
        appliance.events.emit(level, "drill.checked", words, order.check.model_dump(mode="json"), group=name)
    return drill


def stop(appliance: Appliance, name: str, number: int, *, unconfirmed: bool = False) -> Drill:
    """Drop the images of a drill; restore goes on when they were the last. One that is over stays as it is.

    With `unconfirmed`, also one that was confirmed stays as it is.
    """
    with appliance.locks.hold(groups=[name]):
        drill = _find(appliance, name, number)
        if drill.state not in (DrillState.OPEN, DrillState.STARTING):
            return drill
        if unconfirmed and drill.state is DrillState.OPEN and drill.lease_seconds is None:
            return drill
        return finish(appliance, drill, DrillState.STOPPED, UNCONFIRMED if unconfirmed else "")


def end_all(appliance: Appliance, name: str, reason: str) -> None:
    """Drop every image of a group, with its lock held: its volumes are wanted for something else."""
    for drill in list(appliance.store.document.group(name).drills):
        finish(appliance, drill, DrillState.STOPPED, reason)


def listed(appliance: Appliance, name: str | None = None) -> list[Drill]:
    """Every drill that the ledger knows, open or over, by number."""
    return appliance.ledger.all(name)


def refuse_open(group: GroupRecord, doing: str) -> None:
    """ConflictError while a drill is open."""
    if group.drills:
        numbers = ", ".join(str(drill.number) for drill in group.drills)
        raise ConflictError(
            f"cannot {doing}: drill {numbers} of group {group.name} is open",
            hint=f'Stop it first: "pairvol drill stop {group.name}".',
            group=group.name,
            drills=len(group.drills),
        )


def _refuse(group: GroupRecord) -> None:
    if group.role is not Role.SECONDARY or group.phase is not Phase.READY:
        raise ConflictError(
            f"cannot open images of group {group.name}: it is {group.role} here ({group.phase})",
            hint="Give this order to the site that holds the secondary volumes.",
            group=group.name,
        )
    if group.split is not SplitMode.OFF:
        raise ConflictError(
            f"cannot open images of group {group.name}: its volumes are split ({group.split}) and used themselves",
            hint=f'End the split first, with "pairvol pair resync {group.name}".',
            group=group.name,
        )


def _drill(appliance: Appliance, group: GroupRecord, position: Position, started_ns: int) -> Drill:
    number = max([appliance.ledger.next_number(), *(drill.number + 1 for drill in group.drills)])
    images = []
    for member in group.volumes:
        server = f"d-{number}-{member.index}"
        attachment = f"drill{number}.{member.name}"
        images.append(
            DrillImage(
                index=member.index,
                volume=member.name,
                size_bytes=member.size_bytes,
                server=server,
                attachment=attachment if len(attachment) <= NAME_CHARACTERS_MAX else f"drill{number}.{member.index}",
                uri=appliance.paths.volume_uri(server, member.name),
            )
        )
    return Drill(
        number=number,
        group=group.name,
        state=DrillState.STARTING,
        generation=group.generation,
        sequence=position.sequence,
        sequence_time_ns=position.time_ns,
        started_ns=started_ns,
        images=images,
    )


def _find(appliance: Appliance, name: str, number: int) -> Drill:
    for drill in (*appliance.store.document.group(name).drills, *appliance.ledger.all(name)):
        if drill.number == number:
            return drill
    raise NotFoundError(f"group {name} has no drill {number}", hint=f'See "pairvol drill list {name}".', group=name)


def _keep(appliance: Appliance, drill: Drill) -> None:
    """The record of an open drill as it is now."""
    with appliance.store.change() as draft:
        group = draft.group(drill.group)
        group.drills = [each for each in group.drills if each.number != drill.number] + [drill]


def finish(appliance: Appliance, drill: Drill, state: DrillState, reason: str) -> Drill:
    """End the images, then forget the drill, then let restore go on. The group's lock is held, or nobody is there."""
    appliance.images.end([image.server for image in drill.images])
    over = drill.model_copy(update={"state": state, "reason": reason, "ended_ns": time.time_ns()})
    try:
        appliance.ledger.write(over)
    except PairvolError as error:  # must not keep a takeover from the volumes
        appliance.events.emit(
            "error", "drill.ledger_failed", error.message, {"number": drill.number}, group=drill.group
        )
    with appliance.store.change() as draft:
        group = draft.group(drill.group)
        group.drills = [each for each in group.drills if each.number != drill.number]
        last = not group.drills
    appliance.leases.drop(drill.number)
    level = "info" if state is DrillState.STOPPED else "error"
    words = f"group {drill.group}: drill {drill.number} {state}{f', {reason}' if reason else ''}"
    appliance.events.emit(level, f"drill.{state}", words, {"number": drill.number}, group=drill.group)
    if last:
        with suppress(PairvolError):  # no worker: one that starts finds no drill in the record
            appliance.workers.get(appliance.store.document.group(drill.group)).hold_for_images(False)
    return over
