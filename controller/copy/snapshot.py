"""What a secondary group says of itself at one moment. Shapes only."""

from __future__ import annotations

from dataclasses import dataclass

from controller.api import models
from controller.api.models import Compression, Failure, InitialCopy, SafePoint, SplitMode, VerifyState
from controller.journal.pointers import Position


@dataclass(frozen=True, slots=True)
class FinishedRestore(Position):
    """Where the SVOL stands after `finish_restore`, and how many journals that call applied."""

    journals: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The part of the journal state that a secondary group knows; names as in models.JournalState."""

    pointers: dict[str, models.Position]
    records_used: int
    records_capacity: int
    data_used_bytes: int
    data_capacity_bytes: int
    fill_percent: float
    initial_copy: InitialCopy
    consistent_sequence: int | None
    copy_order_active: bool
    link_ok: bool | None
    link_contact_ns: int
    link_silent_seconds: float | None
    checksum_errors: int
    failure: Failure | None
    split: SplitMode
    waiting_epoch: str | None
    safe_point: SafePoint
    verify: VerifyState | None
    limit_bytes_per_second: int | None
    limit_holds_back: bool
    compression: Compression
    transfer_bytes: int
    wire_bytes: int
