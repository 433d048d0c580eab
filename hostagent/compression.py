"""Compression of a pair's transfer: in its record, and what the primary's agent does about it. Pure.

As with the bandwidth limit (hostagent/limit.py) a change raises a serial, and
the higher one counts wherever two records meet. The primary's agent orders
its controller to begin or end it; where the secondary then reads, the
primary's addresses say, so the other agent has nothing to do.
"""

from __future__ import annotations

from typing import Final

from controller.api.models import Compression, CompressionOrder, JournalState, Role
from controller.errors import ConflictError
from hostagent.api.models import Pair
from hostagent.copy_manager.actions import Action, OrderCompression
from hostagent.copy_manager.facts import Facts
from hostagent.copy_manager.pace import Pace

REORDER_SECONDS: Final = 2.0


def compressed(pair: Pair, compression: Compression) -> Pair:
    """The pair with that compression."""
    policy = pair.policy
    if policy.compression is compression:
        return pair
    change = {"compression": compression, "compression_serial": policy.compression_serial + 1}
    return pair.model_copy(update={"policy": policy.model_copy(update=change)})


def refuse_beside_tls(compression: Compression, *, tls: bool) -> None:
    """ConflictError where links are encrypted: the relay speaks no TLS, and asks nobody for a certificate."""
    if tls and compression is not Compression.NONE:
        raise ConflictError(
            f"cannot compress with {compression}: this site has [tls]",
            hint='Links are encrypted or compressed, not both: leave "--compress" out, or say "--compress none".',
        )


def of_primary(facts: Facts, state: JournalState, pace: Pace) -> list[Action]:
    """Order what the pair's record says and the own controller does not do."""
    wanted = facts.pair.policy.compression
    if state.role is not Role.PRIMARY or state.compression is wanted or not pace.due(OrderCompression, REORDER_SECONDS):
        return []
    return [OrderCompression(CompressionOrder(compression=wanted))]


def known(facts: Facts, state: JournalState) -> bool:
    """Whether the addresses known are those of now: with the relay's, or without."""
    return facts.links is not None and (facts.links.relay is not None) is (state.compression is not Compression.NONE)
