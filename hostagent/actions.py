"""What the copy manager asks for. Data only: `runner.py` carries it out, the simulation plays it."""

from __future__ import annotations

from dataclasses import dataclass

from controller.api.lifecycle import ServeOrder
from controller.api.models import CopyOrder, FenceRequest, InitialCopyOrder, PurgeRequest, RestoreRequest
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
    | SavePair
)
