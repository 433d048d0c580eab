"""What a volume server is told: the shape of server.json.

Owns reading and checking that document, nothing else. The controller writes
it durably before it starts a server and before each live command.
"""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from controller import durable
from controller.api.runs import RunOrder
from controller.api.shape import Name, Shape
from controller.errors import UsageError
from controller.journal.layout import BLOCK_BYTES


class VolumeSettings(Shape):
    """One volume to serve; its export name is its name."""

    index: Annotated[int, Field(ge=0, le=63)]
    name: Name
    path: str
    size_bytes: Annotated[int, Field(gt=0, multiple_of=BLOCK_BYTES)]
    writable: bool = True


class ErrorPolicy(StrEnum):
    """What becomes of host writes when the journal's disk refuses."""

    FAIL = "fail"  # they fail
    SUSPEND = "suspend"  # they go on, tracked by region


class JournalSettings(Shape):
    """The journal of the group, and whether host writes go into it."""

    path: str
    pointers: str
    group_uuid: str
    generation: Annotated[int, Field(ge=1)]
    acquire: bool = True
    full_wait_seconds: Annotated[float, Field(ge=0, le=28)] = 10.0  # kernel clients give up at about 30 s
    throttle: bool = False  # hold writes back as the journal fills
    dirty_map: str
    on_error: ErrorPolicy = ErrorPolicy.FAIL

    @property
    def run_record(self) -> Path:
        """The document of the group's in-band run, beside the dirty map."""
        return Path(self.dirty_map).with_name("run")


class TrackingSettings(Shape):
    """Host writes go straight to the volumes and are tracked in a dirty map that is there already."""

    group_uuid: str
    dirty_map: str


class ServerSettings(Shape):
    """Everything one volume server needs."""

    name: Name
    control: str  # path of the control socket
    volumes: Annotated[list[VolumeSettings], Field(min_length=1, max_length=64)]
    journal: JournalSettings | None = None
    tracking: TrackingSettings | None = None  # of a group that serves without a journal


def parse_journal(document: Any) -> JournalSettings:
    """The journal part alone, as the start command carries it."""
    try:
        return JournalSettings.model_validate(document)
    except ValidationError as error:
        raise UsageError(f"journal settings are wrong: {_words(error)}") from error


def parse_volumes(document: Any) -> list[VolumeSettings]:
    """Volumes that join, as the command carries them."""
    try:
        return TypeAdapter(list[VolumeSettings]).validate_python(document)
    except ValidationError as error:
        raise UsageError(f"settings of volumes are wrong: {_words(error)}") from error


def parse_run(document: Any) -> RunOrder:
    """The order that the run command carries."""
    try:
        return RunOrder.model_validate(document)
    except ValidationError as error:
        raise UsageError(f"order of a run is wrong: {_words(error)}") from error


def load(path: str | os.PathLike[str]) -> ServerSettings:
    """Read and check server.json; UsageError names the first thing that is wrong."""
    document = durable.read_json(path)
    try:
        settings = ServerSettings.model_validate(document)
    except ValidationError as error:
        raise UsageError(f"configuration {path} is wrong: {_words(error)}", path=str(path)) from error
    for what in ("index", "name"):
        values = [getattr(volume, what) for volume in settings.volumes]
        if len(set(values)) != len(values):
            raise UsageError(f"configuration {path} gives two volumes the same {what}", path=str(path))
    return settings


def _words(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'document'}: {first['msg'].lower()}"
