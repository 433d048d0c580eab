"""The smaller durable files of a primary group: what the disk refuses is told to whoever asked, and is not there.

The pair's record is a document of the controller, the run's record one of the
volume server, the markers are lines. Each meets the errors at every call
that makes it durable; the same order on a disk that is well is carried out,
and a restart finds what was acknowledged and nothing else.
"""

from __future__ import annotations

import errno
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import RootModel

from controller.api.markers import MarkerOrder
from controller.api.models import GroupCreate, GroupVolume, Role, VolumeCreate
from controller.api.runs import RunKind, RunOrder
from controller.errors import StorageError
from tests.crash.disk_errors.refusal import LINES, REPLACED, Fault, Place, faults, refused
from tests.crash.results import Row
from tests.support.controllers import ControllerProcess
from tests.support.processes import Processes

GROUP, VOLUME_BYTES = "db", 1 << 20


@dataclass(frozen=True, slots=True)
class GroupFile:
    """A file of the group, how it is written, by whom, and the order that needs it."""

    name: str
    places: Sequence[Place]
    by_server: bool
    order: Callable[[ControllerProcess, str], object]


def _keep(controller: ControllerProcess, word: str) -> None:
    controller.client.keep_pair(GROUP, RootModel[dict[str, str]]({"word": word}))


def _mark(controller: ControllerProcess, word: str) -> None:
    controller.client.put_marker(GROUP, MarkerOrder(name=word))


def _run(controller: ControllerProcess, word: str) -> None:
    controller.client.order_run(GROUP, RunOrder(run=word, kind=RunKind.VERIFY, replace=True))


FILES = (
    GroupFile("pair.json", REPLACED, False, _keep),
    GroupFile("markers.jsonl", LINES, False, _mark),
    GroupFile("run", REPLACED, True, _run),
)


def files_refused(row: Row, processes: Processes, directory: Path, brief: bool = False) -> None:
    """Every file at every call, EIO and ENOSPC: one group meets them all; `brief`: each file at its last."""
    controller = ControllerProcess(processes, directory, f"papers{directory.name}")
    try:
        controller.start()
        controller.client.create_volume(VolumeCreate(name="data", size_bytes=VOLUME_BYTES))
        members = [GroupVolume(index=0, name="data", size_bytes=VOLUME_BYTES)]
        facts = {"role": Role.PRIMARY, "peer_site": "osaka", "volumes": members, "journal_bytes": 8 << 20}
        controller.client.create_group(GroupCreate(name=GROUP, uuid=str(uuid.uuid4()), **facts))
        controller.wait_served("data")
        for file in FILES:
            file.order(controller, "first")
            for fault in faults(file.places[-1:], [errno.EIO]) if brief else faults(file.places):
                _refused_once(row, processes, controller, file, fault)
        names = [marker.name for marker in controller.client.markers(GROUP)]
        controller.restart()
        if [marker.name for marker in controller.client.markers(GROUP)] != names:
            row.lose(f"markers.jsonl: {names} were there before the restart, not after it")
    finally:
        controller.stop()


def _refused_once(row: Row, processes: Processes, controller: ControllerProcess, file: GroupFile, fault: Fault) -> None:
    label, path = f"{file.name} of a group, {fault}", controller.state_directory / "groups" / GROUP / file.name
    pid = controller.server_pid("v-data") if file.by_server else controller.pid
    before, word = path.read_bytes(), f"{fault.call}-{fault.what}-{fault.number}"
    row.attempted += 1
    with refused(processes, controller.directory, pid, fault, path):
        try:
            file.order(controller, word)
        except StorageError as error:
            row.reached += 1
            if not fault.named_in(error.message) or file.name not in error.message or not error.hint:
                row.lose(f"{label}: said {error.message!r}, hint {error.hint!r}")
        else:
            row.lose(f"{label}: the order was answered as done")
    in_force = file.places is REPLACED and fault.what == "directory"  # renamed; only whether it lasts is not known
    if not in_force and not file.by_server and path.read_bytes() != before:
        row.lose(f"{label}: what was refused is in the file")
    file.order(controller, word)  # the disk is well again
    if word.encode() not in path.read_bytes():
        row.lose(f"{label}: the order given again is not in the file")
