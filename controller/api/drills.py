"""Drills: what is ordered, and what is known of one. Shapes only."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from controller.api.models import Count, Name, Shape


class DrillState(StrEnum):
    STARTING = "starting"
    OPEN = "open"  # its images are served; restore waits
    STOPPED = "stopped"
    LOST = "lost"  # an image ended by itself, and with it what was written to it
    FAILED = "failed"  # it never became ready


class DrillImage(Shape):
    """A writable image of one secondary volume; dropped whole at the end."""

    index: Count
    volume: Name
    size_bytes: Count
    server: str  # id of its nbdkit
    attachment: Name  # the name under which the host agent attaches it
    uri: str  # nbd+unix:///NAME?socket=PATH


class DrillCheck(Shape):
    """What a check command said of the images."""

    command: str
    passed: bool
    exit_code: int | None  # None: it did not end in time
    seconds: float
    sequence: Count  # of the images
    time_ns: Count  # when it ended
    output: str = ""  # its last words


class Drill(Shape):
    """One drill, open or over."""

    number: Annotated[int, Field(ge=1)]
    group: Name
    state: DrillState
    generation: Count
    sequence: Count  # the images hold every journal up to this one, and none after it
    sequence_time_ns: Count
    read_sequence: Count = 0  # the newest journal that was at this site then
    started_ns: Count
    lag_seconds: float | None = None  # achieved RPO: what would have been lost at the start
    lag_bytes: Count | None = None
    ready_seconds: float | None = None  # achieved RTO: until the images could be used
    images: list[DrillImage]
    at: str | None = None  # the moment that was asked for; None: the present one
    check: DrillCheck | None = None
    ended_ns: Count | None = None
    reason: str = ""  # why it is over
    opener: str = ""  # the host and the run of its agent that asked for it, as HOST/RUN; not known of older ones
    attached: bool = False  # the host agent has made block devices of its images
    lease_seconds: float | None = None  # how long it stays open without a word of that agent; None: until it is stopped


class RestoreEndOrder(Shape):
    """Let restore go on to one of these and stand there; none of them: let it go on."""

    sequence: Count | None = None  # behind this journal
    marker: Name | None = None  # behind the next marker of this name
    time_ns: Count | None = None  # before the first later journal
    hold_seconds: Annotated[float, Field(gt=0, le=3600)] = 10.0  # without a renewal


class DrillStart(Shape):
    """Open images at the present moment; the lag at the start, for the ledger, is what the host agent knows."""

    lag_seconds: float | None = None
    lag_bytes: Count | None = None
    at: str | None = None
    opener: str = ""
    lease_seconds: Annotated[float, Field(gt=0, le=3600)] | None = None  # until it is confirmed


class DrillStamp(Shape):
    """What the host agent found out about an open drill; what is None stays as it is."""

    ready_seconds: float | None = None
    check: DrillCheck | None = None
    attached: bool | None = None
    confirmed: bool = False  # who asked for it knows that it is open: it needs no lease any more
