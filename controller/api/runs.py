"""In-band runs: orders, and what is said of them. Shapes only; what they do is in controller/LIFECYCLE.md."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, NamedTuple

from pydantic import Field

from controller.api.shape import Count, Failure, Name, Shape

RANGES_MAX = 16384


class Range(NamedTuple):
    """A part of a volume: bytes, whole blocks."""

    volume: int
    offset: int
    length: int


class RunKind(StrEnum):
    """What a run leaves in the journal of each chunk."""

    BASE = "base"  # its content
    VERIFY = "verify"  # its digest
    REPAIR = "repair"  # its content, then its digest


class RunPhase(StrEnum):
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"  # goes on when it is ordered again
    INTERRUPTED = "interrupted"  # its primary is another one now, or a person cancelled it: it never goes on


class RunOrder(Shape):
    """Go through ranges of a primary's volumes, in band. The same order again changes nothing."""

    run: Name  # never used for another one
    kind: RunKind
    task: Name | None = None  # what it is a part of; None: a task of its own
    ranges: Annotated[list[Range], Field(min_length=1, max_length=RANGES_MAX)] | None = None  # None: all volumes
    repair: bool = False  # of a task: what is found different is to be repaired
    round: Count = 0  # of a task: how many runs came before
    replace: bool = False  # end another run that is under way
    cancel: bool = False  # end this very run, wherever it is, and let nothing follow it


class RunState(Shape):
    """A run at the primary."""

    run: Name
    task: Name
    kind: RunKind
    repair: bool = False
    round: Count = 0
    phase: RunPhase
    bytes_done: Count
    bytes_total: Count
    begin_sequence: Count | None = None  # of its marker "run begun"
    end_sequence: Count | None = None  # of its marker "run ended"
    started_ns: Count
    ended_ns: Count | None = None
    waits: str | None = None  # why it does not move just now
    failure: Failure | None = None


class Found(NamedTuple):
    """A range that a verify listed, and the journal at which it did."""

    volume: int
    offset: int
    length: int
    sequence: int


class VerifyState(Shape):
    """What a secondary found by the digests of a task."""

    task: Name
    run: Name  # the task's newest
    kind: RunKind  # of that run
    ended: bool = False  # that run was passed
    sequence: Count = 0  # of the newest digest, or of the end
    bytes_done: Count = 0  # of that run
    bytes_total: Count = 0
    bytes_verified: Count = 0  # of the first run: what the whole task is about
    different: list[Found] = Field(default_factory=list)
    unsure: list[Found] = Field(default_factory=list)
    different_bytes: Count = 0
    unsure_bytes: Count = 0
    repaired_bytes: Count = 0
