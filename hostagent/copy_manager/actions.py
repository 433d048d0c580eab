"""What the copy manager asks for. Data only: `runner.py` carries it out, the simulation plays it."""

from __future__ import annotations

from dataclasses import dataclass

from controller.api.lifecycle import DemoteOrder, EpochOrder, PromoteOrder, ResyncOrder, ServeOrder
from controller.api.models import (
    CompressionOrder,
    CopyOrder,
    FenceRequest,
    InitialCopyOrder,
    PurgeRequest,
    RestoreRequest,
)
from controller.api.runs import RunOrder
from hostagent.api.models import Exchange, Pair


@dataclass(frozen=True, slots=True)
class QueryState:
    """Ask the own controller for the journal-creation state (FIG. 6, 6100 and 6310).

    With `wait_seconds`, the answer may wait until a journal above `after`
    becomes durable: the notification that ends an idle beat.
    """

    after: int | None = None
    wait_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class QueryGroup:
    """Ask the own controller where the primary's journal lies and is read (composition command)."""


@dataclass(frozen=True, slots=True)
class ExchangeWithPeer:
    """Tell the other agent, and hear it (6110 and 6340)."""

    message: Exchange


@dataclass(frozen=True, slots=True)
class OrderCopy:
    """The journal copy request command (6300)."""

    order: CopyOrder


@dataclass(frozen=True, slots=True)
class OrderInitialCopy:
    order: InitialCopyOrder


@dataclass(frozen=True, slots=True)
class OrderRestore:
    """The journal restore request command (6330)."""

    request: RestoreRequest


@dataclass(frozen=True, slots=True)
class OrderPurge:
    """Free what the secondary has confirmed (6120)."""

    request: PurgeRequest


@dataclass(frozen=True, slots=True)
class OrderFence:
    """Stop host writes: a higher generation exists."""

    request: FenceRequest


@dataclass(frozen=True, slots=True)
class OrderServe:
    """Let a primary that came back serve hosts: the other site is known not to."""

    order: ServeOrder


@dataclass(frozen=True, slots=True)
class OrderCompression:
    """Let the other site read the own primary compressed, or no longer."""

    order: CompressionOrder


@dataclass(frozen=True, slots=True)
class OrderResume:
    """Let a suspended primary write journals again; its changed regions stand still from then on."""


@dataclass(frozen=True, slots=True)
class QueryRegions:
    """Ask the own controller for its changed regions."""


@dataclass(frozen=True, slots=True)
class OrderResync:
    """Copy the primary's changed regions to this secondary; the same order again changes nothing."""

    order: ResyncOrder


@dataclass(frozen=True, slots=True)
class OrderClearEpoch:
    """The secondary is consistent: forget the changed regions of that epoch."""

    order: EpochOrder


@dataclass(frozen=True, slots=True)
class OrderPromote:
    """A site that took over becomes the primary of the turned pair."""

    order: PromoteOrder


@dataclass(frozen=True, slots=True)
class OrderDemote:
    """The old primary follows the new one; what only it has is kept as an orphan tail."""

    order: DemoteOrder


@dataclass(frozen=True, slots=True)
class OrderRun:
    """Bring ranges of the primary's volumes into its journal, in band."""

    order: RunOrder


@dataclass(frozen=True, slots=True)
class SavePair:
    """Keep this durably before anything else is done."""

    pair: Pair


Action = (
    QueryState
    | QueryGroup
    | ExchangeWithPeer
    | OrderCopy
    | OrderInitialCopy
    | OrderRestore
    | OrderPurge
    | OrderFence
    | OrderServe
    | OrderCompression
    | OrderResume
    | QueryRegions
    | OrderResync
    | OrderClearEpoch
    | OrderRun
    | OrderPromote
    | OrderDemote
    | SavePair
)
