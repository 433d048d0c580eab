"""The files of a group when it is made and when it is demoted: each meets its error, whoever ordered is told.

A group that could not be made leaves nothing; a demotion goes on with the step
that was refused when it is ordered again, and keeps the journals that the new
primary never had, all of them. One controller meets them all.
"""

from __future__ import annotations

import errno
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import nbd

from controller.api.lifecycle import DemoteOrder, DemoteResult
from controller.api.markers import MarkerOrder
from controller.api.models import GroupCreate, GroupVolume, JournalState, Position, Role, VolumeCreate
from controller.errors import CapacityError, PairvolError, StorageError
from controller.journal.pointers import Pointer
from tests.crash.disk_errors.refusal import REPLACED, Fault, Place, faults, refused
from tests.crash.results import Row
from tests.support.controllers import ControllerProcess
from tests.support.nbdkit import connected
from tests.support.processes import Processes

GROUP, VOLUME, VOLUME_BYTES = "db", "data", 1 << 20
JOURNAL_BYTES: Final = 2 << 20
TAIL: Final = 3  # journals that the new primary never had
WRITTEN: Final = (("pwrite64", "file"), ("fsync", "file"))
ALLOCATED: Final = ("fallocate", "file")
DIRECTORY: Final = ("fsync", "directory")

MADE: Final[dict[str, Sequence[Place]]] = {
    "journal": (ALLOCATED, *WRITTEN),
    "pointers": (ALLOCATED, WRITTEN[1]),
    "export/journal": (("symlink", "file"), DIRECTORY),
}
DEMOTED: Final[dict[str, Sequence[Place]]] = {
    "dirty": REPLACED[:3],
    "journal": (("rename", "file"), ALLOCATED, *WRITTEN),
    "orphans": (("mkdir", "file"), ("fsync", "file")),
    ".pointers.new": (ALLOCATED, WRITTEN[1], ("rename", "file")),
    "export/journal": (DIRECTORY,),
    "markers.jsonl": REPLACED[:3],
}


def made_and_demoted(row: Row, processes: Processes, directory: Path) -> None:
    """Every place, EIO; the other error number at the first call of each file alone."""
    controller = ControllerProcess(processes, directory, f"lives{directory.name}")
    try:
        controller.start()
        controller.client.create_volume(VolumeCreate(name=VOLUME, size_bytes=VOLUME_BYTES))
        for meet, files in ((_make, MADE), (_demote, DEMOTED)):
            for name, places in files.items():
                for fault in faults(places, [errno.EIO]) + faults(places[:1], [errno.ENOSPC]):
                    row.attempted += 1
                    meet(row, processes, controller, name, fault)
                    controller.client.delete_group(GROUP, force=True)
    finally:
        controller.stop()


def _create(controller: ControllerProcess) -> None:
    members = [GroupVolume(index=0, name=VOLUME, size_bytes=VOLUME_BYTES)]
    facts = {"role": Role.PRIMARY, "peer_site": "osaka", "volumes": members, "journal_bytes": JOURNAL_BYTES}
    controller.client.create_group(GroupCreate(name=GROUP, uuid=str(uuid.uuid4()), **facts))
    controller.wait_served(VOLUME)


def _make(row: Row, processes: Processes, controller: ControllerProcess, name: str, fault: Fault) -> None:
    label = f"{name} of a new group, {fault}"
    document = controller.state_directory / "groups" / GROUP / name
    with refused(processes, controller.directory, controller.pid, fault, document) as refusal:
        for _ in range(2):
            _judge(row, label, lambda: _create(controller), name, fault)
            if controller.client.groups() or document.exists():
                row.lose(f"{label}: something is left of the group that could not be made")
        row.reached += refusal.met() >= 2
    _create(controller)  # the disk is well again
    _write(controller, 0)


def _demote(row: Row, processes: Processes, controller: ControllerProcess, name: str, fault: Fault) -> None:
    label = f"{name} of a group that is demoted, {fault}"
    _create(controller)
    _write(controller, 0)
    controller.client.put_marker(GROUP, MarkerOrder(name="before"))
    base = _state(controller).pointers[str(Pointer.DURABLE)]
    for block in range(TAIL):
        _write(controller, 1 + block)
    controller.client.put_marker(GROUP, MarkerOrder(name="after"))
    order = DemoteOrder(generation=2, base=Position(**base.model_dump()), peer_site="osaka")
    document = controller.state_directory / "groups" / GROUP / name
    with refused(processes, controller.directory, controller.pid, fault, document) as refusal:
        for _ in range(2):
            _judge(row, label, lambda: controller.client.demote(GROUP, order), name, fault)
            if controller.client.group(GROUP).role is Role.SECONDARY:
                row.lose(f"{label}: it is a secondary, although it was refused")
        row.reached += refusal.met() >= 2
    _judge_demoted(row, label, controller, controller.client.demote(GROUP, order), base)
    controller.restart()
    _judge_demoted(row, label, controller, controller.client.demote(GROUP, order), base)


def _judge_demoted(row: Row, label: str, controller: ControllerProcess, result: DemoteResult, base: Position) -> None:
    state, kept = _state(controller), controller.client.orphans(GROUP)
    if state.role is not Role.SECONDARY or state.pointers[str(Pointer.ALREADY_READ)] != base:
        row.lose(f"{label}: the disk is well, and the group is {state.role} at {state.pointers}")
    if [orphan.journals for orphan in kept] != [TAIL] or not Path(kept[0].path).exists():
        row.lose(f"{label}: kept of the tail is {kept}")
    if [marker.name for marker in controller.client.markers(GROUP)] != ["before"]:
        row.lose(f"{label}: markers of the tail are listed, or others are not")
    if not result.dirty_bytes:
        row.lose(f"{label}: no region is marked for what the tail wrote")


def _judge(row: Row, label: str, give: Callable[[], object], name: str, fault: Fault) -> None:
    """The order is answered with an error that names the cause and the file, and says what to do."""
    try:
        give()
    except PairvolError as error:
        known = isinstance(error, StorageError | CapacityError)
        if not known or not fault.named_in(error.message) or not error.hint or _stem(name) not in error.message:
            row.lose(f"{label}: {type(error).__name__} {error.message!r}, hint {error.hint!r}")
    else:
        row.lose(f"{label}: the order was answered as done")


def _stem(name: str) -> str:
    return f"{GROUP}/{name.split('/')[0]}"


def _state(controller: ControllerProcess) -> JournalState:
    return controller.client.state(GROUP)


def _write(controller: ControllerProcess, block: int) -> None:
    with connected(controller.wait_served(VOLUME)) as handle:
        handle.pwrite(bytes([1 + block]) * 4096, block * 4096, nbd.CMD_FLAG_FUA)
