"""What a volume server is told: the shape of server.json.

Owns reading and checking that document, nothing else. The controller writes
it durably before it starts a server and before each live command. msgspec
checks it, since hosts wait for a server that starts: the shapes of the control
link take ten times as long to import.
"""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

from msgspec import Meta, Struct, ValidationError, convert

from controller import durable
from controller.api.words import NAME_PATTERN
from controller.errors import UsageError
from controller.journal.sizes import BLOCK_BYTES

Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
Told = TypeVar("Told")


class VolumeSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One volume to serve; its export name is its name."""

    index: Annotated[int, Meta(ge=0, le=63)]
    name: Name
    path: str
    size_bytes: Annotated[int, Meta(gt=0, multiple_of=BLOCK_BYTES)]
    writable: bool = True


class ErrorPolicy(StrEnum):
    """What becomes of host writes when the journal's disk refuses."""

    FAIL = "fail"  # they fail
    SUSPEND = "suspend"  # they go on, tracked by region


class JournalSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The journal of the group, and whether host writes go into it."""

    path: str
    pointers: str
    group_uuid: str
    generation: Annotated[int, Meta(ge=1)]
    acquire: bool = True
    full_wait_seconds: Annotated[float, Meta(ge=0, le=28)] = 10.0  # kernel clients give up at about 30 s
    throttle: bool = False  # hold writes back as the journal fills
    dirty_map: str
    on_error: ErrorPolicy = ErrorPolicy.FAIL

    @property
    def run_record(self) -> Path:
        """The document of the group's in-band run, beside the dirty map."""
        return Path(self.dirty_map).with_name("run")


class TrackingSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Host writes go straight to the volumes and are tracked in a dirty map that is there already."""

    group_uuid: str
    dirty_map: str


class ServerSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything one volume server needs."""

    name: Name
    control: str  # path of the control socket
    volumes: Annotated[list[VolumeSettings], Meta(min_length=1, max_length=64)]
    journal: JournalSettings | None = None
    tracking: TrackingSettings | None = None  # of a group that serves without a journal


def parse_server(document: Any, what: str = "settings of a volume server are wrong") -> ServerSettings:
    """The whole document; UsageError names the first thing that is wrong, after `what`."""
    settings = _parse(document, ServerSettings, what)
    for key in ("index", "name"):
        values = [getattr(volume, key) for volume in settings.volumes]
        if len(set(values)) != len(values):
            raise UsageError(f"{what}: two volumes have the same {key}")
    return settings


def parse_journal(document: Any) -> JournalSettings:
    """The journal part alone, as the start command carries it."""
    return _parse(document, JournalSettings, "journal settings are wrong")


def parse_volumes(document: Any) -> list[VolumeSettings]:
    """Volumes that join, as the command carries them."""
    return _parse(document, list[VolumeSettings], "settings of volumes are wrong")


def load(path: str | os.PathLike[str]) -> ServerSettings:
    """Read and check server.json."""
    return parse_server(durable.read_json(path), f"configuration {path} is wrong")


def _parse(document: Any, shape: type[Told], what: str) -> Told:
    try:
        return convert(document, shape)
    except ValidationError as error:
        mistake, _, place = str(error).partition(" - at ")  # "Expected `int` >= 0 - at `$.volumes[0].index`"
        where = place.strip("`").removeprefix("$").removeprefix(".") or "document"
        raise UsageError(f"{what}: {where}: {mistake[:1].lower()}{mistake[1:]}") from error
