"""Sizes of journals and volumes, and the volumes of a pair: orders and answers. Shapes only."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from controller.api.models import Count, Group, Name, Shape, Volume


class ResizeSide(StrEnum):
    PRIMARY = "primary"
    SECONDARY = "secondary"
    BOTH = "both"


class JournalSize(Shape):
    """The journals of a pair get another size, or lie on a pool volume of one side."""

    size_bytes: Annotated[int, Field(gt=0)] | None = None
    journal_volumes: list[Name] = Field(default_factory=list)
    side: ResizeSide = ResizeSide.BOTH


class VolumeSize(Shape):
    """A volume grows, and with it the one at the other site."""

    size_bytes: Annotated[int, Field(gt=0)]


class VolumeSizes(Shape):
    """What it has now, by site."""

    volume: Name
    group: Name | None
    sizes: dict[str, int]


class SideResize(Shape):
    """One agent to the other: your volume of this index in the group."""

    index: Count
    size_bytes: Count
    check: bool = False


class JournalSizes(Shape):
    """What they have now; None for a side that was not asked for."""

    group: Name
    primary: Count | None = None
    secondary: Count | None = None


class PairMembers(Shape):
    """Volumes of both sides, in the same order: those that join a pair, or all that a pair has."""

    primary: list[Name]
    secondary: list[Name]


class PairRemove(Shape):
    """Volumes that leave a pair, as they are called at the primary."""

    volumes: Annotated[list[Name], Field(min_length=1, max_length=64)]


class SideMembers(Shape):
    """A site's group of a pair, and all volumes of that site."""

    group: Group
    volumes: list[Volume]
