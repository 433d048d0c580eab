"""A volume grows, also one of a living group: its backing store, its record, and who serves or restores it.

Owns the steps at one site (controller/LIFECYCLE.md, "A volume grows"); the
order between two sites is the agents'. A backing store given by the user is
never made longer here. Nothing ever shrinks.
"""

from __future__ import annotations

import os

from controller import plans, serving, volumes
from controller.api.lifecycle import VolumeResize
from controller.api.models import Role, Volume
from controller.appliance import Appliance
from controller.errors import CapacityError, ConflictError, StorageError, UsageError
from controller.groups.steady import refuse_unsteady
from controller.journal.access import volume_size_bytes
from controller.journal.layout import BLOCK_BYTES
from controller.state import VolumeRecord
from controller.volume.backing import Backing


def resize(appliance: Appliance, name: str, order: VolumeResize) -> Volume:
    """Make a volume larger. Given again it converges; with `check` it only says why it could not."""
    document = appliance.store.document
    group = document.group_of(name)
    with appliance.locks.hold(groups=[group.name] if group is not None else [], volumes=[name]):
        _check(appliance, name, order)
        before = appliance.store.document.volume(name).size_bytes
        if not order.check:
            with appliance.store.change() as draft:
                draft.volume(name).next_size_bytes = order.size_bytes
            _grow_or_forget(appliance, name)
            if order.size_bytes != before:
                facts = {"volume": name, "bytes": order.size_bytes}
                appliance.events.emit("info", "volume.grown", f"volume {name} has {order.size_bytes} bytes now", facts)
    return volumes.show(appliance, name)


def finish(appliance: Appliance, name: str) -> None:
    """The steps of a growth whose intent is recorded; each may be done twice."""
    document = appliance.store.document
    volume, group = document.volume(name), document.group_of(name)
    size_bytes = volume.next_size_bytes
    if size_bytes is None:
        return
    _lengthen(volume, size_bytes, zeroed=group is not None or volume.owned)
    secondary = group is not None and group.role is Role.SECONDARY
    if group is not None and secondary:
        appliance.workers.stop(group.name)
    with appliance.store.change() as draft:
        draft.volume(name).size_bytes = size_bytes
        for member in draft.group(group.name).volumes if group is not None else []:
            if member.name == name:
                member.size_bytes = size_bytes
    if group is not None and secondary:
        appliance.workers.start(appliance.store.document.group(group.name), appliance.store.document)
    else:
        _tell(appliance, name)
    with appliance.store.change() as draft:
        draft.volume(name).next_size_bytes = None


def settle(appliance: Appliance, name: str) -> None:
    """Finish at a start what a crash cut short."""
    group = appliance.store.document.group_of(name)
    with appliance.locks.hold(groups=[group.name] if group is not None else [], volumes=[name]):
        finish(appliance, name)


def _grow_or_forget(appliance: Appliance, name: str) -> None:
    try:
        finish(appliance, name)
    except OSError as error:
        _forget(appliance, name)
        raise StorageError(
            f"cannot grow volume {name}: {(error.strerror or str(error)).lower()}",
            hint="Look at the disk of its backing store; the volume is as it was.",
            volume=name,
        ) from error
    except CapacityError:
        _forget(appliance, name)
        raise


def _forget(appliance: Appliance, name: str) -> None:
    with appliance.store.change() as draft:
        draft.volume(name).next_size_bytes = None


def _check(appliance: Appliance, name: str, order: VolumeResize) -> None:
    document = appliance.store.document
    volume, group = document.volume(name), document.group_of(name)
    if (group.name if group is not None else None) != order.group:
        where = f"in group {group.name}" if group is not None else "in no group"
        raise ConflictError(
            f"cannot resize volume {name} alone: it is {where}",
            hint="Give the order to a host agent, which sees to both sites.",
            volume=name,
        )
    if order.size_bytes % BLOCK_BYTES:
        raise UsageError(
            f"size {order.size_bytes} of volume {name} is not a multiple of {BLOCK_BYTES}",
            hint=f"Give {-(-order.size_bytes // BLOCK_BYTES) * BLOCK_BYTES} bytes instead.",
        )
    if order.size_bytes < volume.size_bytes:
        raise ConflictError(
            f"cannot shrink volume {name} from {volume.size_bytes} to {order.size_bytes} bytes",
            hint="Volumes only grow: make a smaller one and copy what is needed.",
            volume=name,
        )
    if volume.owned:
        volumes.refuse_too_long(volume.backing, order.size_bytes)
    else:
        volumes.check_length(volume.backing, order.size_bytes)
    if group is not None and order.size_bytes > volume.size_bytes:
        refuse_unsteady(appliance, group, f"resize volume {name}")


def _lengthen(volume: VolumeRecord, size_bytes: int, *, zeroed: bool) -> None:
    """The backing store of ours made longer, durably; what is new reads as zeros where that matters."""
    file = os.open(volume.backing, os.O_RDWR | os.O_CLOEXEC)
    try:
        if volume.owned and volume_size_bytes(file) < size_bytes:
            os.ftruncate(file, size_bytes)
            os.fsync(file)
    finally:
        os.close(file)
    if zeroed and volume.size_bytes < size_bytes:
        backing = Backing.open(volume.backing, size_bytes)
        try:
            backing.punch(volume.size_bytes, size_bytes - volume.size_bytes)
            backing.sync()
        finally:
            backing.close()


def _tell(appliance: Appliance, name: str) -> None:
    """The server of the volume: told durably, then commanded when it is kept."""
    document = appliance.store.document
    volume, group = document.volume(name), document.group_of(name)
    server = plans.server_of(document, name)
    if server is None:
        return
    told = plans.own_document(volume, appliance.paths)
    if group is not None:
        told = plans.group_document(group, document, appliance.config, appliance.paths)
    serving.tell(appliance, server, told)
    if appliance.servers.find(server) is not None:
        serving.wait_served(appliance, server)
        serving.command(appliance, server, "grow", volume=name, size_bytes=volume.size_bytes)
