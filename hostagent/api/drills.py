"""Markers and drills as an agent tells of them: shapes only."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from controller.api.drills import Drill
from controller.api.markers import NamedMarker
from controller.api.models import Name, Shape


class MarkerSides(Shape):
    """The markers as both sites know them; None for a site that does not answer now."""

    primary: list[NamedMarker] | None
    secondary: list[NamedMarker] | None


class DrillOrder(Shape):
    """Open a drill at the present moment; with a command, check it."""

    check: Annotated[str, Field(min_length=1)] | None = None
    check_seconds: Annotated[float, Field(gt=0, le=86400)] = 3600.0


class DrillReport(Drill):
    """A drill, the site with its images, and their block devices at that site's host, by volume name."""

    site: Name
    devices: dict[str, str] = Field(default_factory=dict)


class DrillLedger(Shape):
    """The drills of all sites, oldest first; numbers count for each site alone."""

    drills: list[DrillReport]
    silent: list[Name] = Field(default_factory=list)  # sites that did not answer
