"""The smaller durable files of a primary group: what the disk refuses is told to whoever asked, and is not there.

The pair's record is a document of the controller, the run's record one of the
volume server, the markers are lines. Each meets the errors at every call
that makes it durable; the same order on a disk that is well is carried out,
and a restart finds what was acknowledged and nothing else.
"""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import RootModel

from controller.api.markers import MarkerOrder
from controller.api.models import GroupCreate, GroupVolume, Role, VolumeCreate
from controller.api.runs import RunKind, RunOrder
from controller.errors import StorageError
from tests.crash.disk_errors.refusing import refusing
from tests.crash.results import Row
from tests.support.controllers import ControllerProcess
from tests.support.processes import Processes

GROUP, VOLUME_BYTES = "db", 1 << 20
SYNCED_DIRECTORY = "directory"
REPLACED = (("write", "temporary"), ("fsync", "temporary"), ("rename", "temporary"), ("fsync", SYNCED_DIRECTORY))
ADDED = (("write", "file"), ("fsync", "file"))


@dataclass(frozen=True, slots=True)
class Document:
    """A file of the group, how it is written, by whom, and the order that needs it."""

    name: str
    calls: tuple[tuple[str, str], ...]
    by_server: bool
    order: Callable[[ControllerProcess, str], object]

    def path(self, directory: Path, what: str, pid: int) -> Path:
        places = {"temporary": directory / f".{self.name}.{pid}.new", SYNCED_DIRECTORY: directory}
        return places.get(what, directory / self.name)


def _keep(controller: ControllerProcess, word: str) -> None:
    controller.client.keep_pair(GROUP, RootModel[dict[str, str]]({"word": word}))


def _mark(controller: ControllerProcess, word: str) -> None:
    controller.client.put_marker(GROUP, MarkerOrder(name=word))


def _run(controller: ControllerProcess, word: str) -> None:
    controller.client.order_run(GROUP, RunOrder(run=word, kind=RunKind.VERIFY, replace=True))


DOCUMENTS = (
    Document("pair.json", REPLACED, False, _keep),
    Document("markers.jsonl", ADDED, False, _mark),
    Document("run", REPLACED, True, _run),
)


def documents_refused(row: Row, processes: Processes, directory: Path, brief: bool = False) -> None:
    """Every document at every call, EIO and ENOSPC: one group meets them all; `brief`: each document at its last."""
    controller = ControllerProcess(processes, directory, f"papers{directory.name}")
    try:
        controller.start()
        controller.client.create_volume(VolumeCreate(name="data", size_bytes=VOLUME_BYTES))
        members = [GroupVolume(index=0, name="data", size_bytes=VOLUME_BYTES)]
        facts = {"role": Role.PRIMARY, "peer_site": "osaka", "volumes": members, "journal_bytes": 8 << 20}
        controller.client.create_group(GroupCreate(name=GROUP, uuid=str(uuid.uuid4()), **facts))
        controller.wait_served("data")
        for document in DOCUMENTS:
            document.order(controller, "first")
            for call, what in document.calls[-1:] if brief else document.calls:
                for number in (errno.EIO,) if brief else (errno.EIO, errno.ENOSPC):
                    _refused_once(row, processes, controller, document, call, what, number)
        names = [marker.name for marker in controller.client.markers(GROUP)]
        controller.restart()
        if [marker.name for marker in controller.client.markers(GROUP)] != names:
            row.lose(f"markers.jsonl: {names} were there before the restart, not after it")
    finally:
        controller.stop()


def _refused_once(
    row: Row, processes: Processes, controller: ControllerProcess, document: Document, call: str, what: str, number: int
) -> None:
    label = f"{errno.errorcode[number]} at {call} of {what} of {document.name}"
    folder = controller.state_directory / "groups" / GROUP
    pid = controller.server_pid("v-data") if document.by_server else controller.pid
    before, word = (folder / document.name).read_bytes(), f"{call}-{what}-{number}"
    row.attempted += 1
    path = document.path(folder, what, pid)
    with refusing(processes, pid, call, path, number, controller.directory / f"{document.name}-{word}"):
        try:
            document.order(controller, word)
        except StorageError as error:
            row.reached += 1
            if os.strerror(number).lower() not in error.message or document.name not in error.message or not error.hint:
                row.lose(f"{label}: said {error.message!r}, hint {error.hint!r}")
        else:
            row.lose(f"{label}: the order was answered as done")
    after = (folder / document.name).read_bytes()
    if what != SYNCED_DIRECTORY and not document.by_server and after != before:
        row.lose(f"{label}: what was refused is in the file")
    document.order(controller, word)  # the disk is well again
    if word.encode() not in (folder / document.name).read_bytes():
        row.lose(f"{label}: the order given again is not in the file")
