"""Markers and drills as an agent tells of them: shapes only."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from controller.api.drills import Drill
from controller.api.markers import NamedMarker
from controller.api.models import Count, Name, Shape


class MarkerSides(Shape):
    """The markers as both sites know them; None for a site that does not answer now."""

    primary: list[NamedMarker] | None  # the site whose volumes are written
    secondary: list[NamedMarker] | None
    unknown_since_ns: dict[Name, Count] = Field(default_factory=dict)  # of those sites, by name


class MarkerPut(Shape):
    """Put a marker; with `freeze`, while the file systems on the group's volumes stand still."""

    name: Name
    freeze: bool = False


class PutMarker(NamedMarker):
    """A marker, and how quiet it was when it was put."""

    frozen: list[str] = Field(default_factory=list)  # HOST:MOUNT-POINT
    silent: list[Name] = Field(default_factory=list)  # hosts that did not answer
    quiet_seconds: float | None = None


class QuietOrder(Shape):
    """One host of a site to another: be quiet for a moment, or go on."""

    volumes: list[Name]
    environment: dict[str, str]
    freeze: bool


class QuietHost(Shape):
    """What is frozen at a host."""

    points: list[str]


class DrillOrder(Shape):
    """Open a drill at the present moment, or at one that is ahead; with a command, check it."""

    at: Annotated[str, Field(min_length=1)] | None = None  # a marker's name, a sequence, a time
    marker: Name | None = None  # put this one now, and open the drill exactly there
    freeze: bool = False  # with `marker`: while the file systems stand still
    wait_seconds: Annotated[float, Field(gt=0, le=86400)] = 60.0  # for that moment

    check: Annotated[str, Field(min_length=1)] | None = None
    check_seconds: Annotated[float, Field(gt=0, le=86400)] = 3600.0
    confirms: bool = False  # who asks says when it has the answer; else the drill ends by itself after a while


class DrillReport(Drill):
    """A drill, the site with its images, and their block devices at that site's host, by volume name."""

    site: Name
    devices: dict[str, str] = Field(default_factory=dict)


class DrillLedger(Shape):
    """The drills of all sites, oldest first; numbers count for each site alone."""

    drills: list[DrillReport]
    silent: list[Name] = Field(default_factory=list)  # sites that did not answer
    unknown_since_ns: dict[Name, Count] = Field(default_factory=dict)  # of these, where that is known
