"""`pair verify` as agents say it. Shapes only."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from controller.api.models import Count, Failure, Name, Shape
from hostagent.api.models import Verdict


class VerifyOrder(Shape):
    """Compare both sides; with `repair`, bring over what is found different."""

    repair: bool = False
    cancel: bool = False  # end the one under way instead


class VerifyPhase(StrEnum):
    NONE = "none"  # never verified
    RUNNING = "running"
    HELD = "held"  # its digests have arrived; restore comes to them by an operator's command alone
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    UNKNOWN = "unknown"  # a side does not answer


class DifferentRange(Shape):
    """A range that differs: bytes of a volume, found by the digest at a journal."""

    volume: Name
    offset: Count
    length: Count
    sequence: Count


class VerifyReport(Shape):
    """How a verify stands, or how the last one ended."""

    group: Name
    task: str | None = None
    repair: bool = False
    phase: VerifyPhase
    verdict: Verdict
    line: str
    next_command: str | None = None
    step: str | None = None  # what is under way: verifying, repairing, verifying again
    bytes_done: Count = 0  # of that step
    bytes_total: Count = 0
    waits: str | None = None  # why that does not move just now
    bytes_verified: Count = 0
    sequence: Count | None = None  # up to here it is compared
    different: list[DifferentRange] = Field(default_factory=list)
    different_bytes: Count = 0
    unsure_bytes: Count = 0
    repaired_bytes: Count = 0
    failure: Failure | None = None
    unknown_since_ns: Count | None = None  # of the side that does not answer
