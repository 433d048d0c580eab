"""The bandwidth limit of a pair as its record carries it, and which of two records says the newer word. Pure.

A change raises `limit_serial`; the higher one counts wherever two records of
a pair meet, so a change given to either agent reaches the other whenever they
hear of each other, and no late word takes it back.
"""

from __future__ import annotations

from controller.api.models import CopyMode, CopyOrder, CopySource, RestoreMode
from controller.units import format_size
from hostagent.api.models import Pair


def limited(pair: Pair, limit: int | None) -> Pair:
    """The pair with another limit, in bytes a second; None: no limit."""
    policy = pair.policy
    if policy.limit_bytes_per_second == limit:
        return pair
    change = {"limit_bytes_per_second": limit, "limit_serial": policy.limit_serial + 1}
    return pair.model_copy(update={"policy": policy.model_copy(update=change)})


def newest_limit(pair: Pair, other: Pair | None) -> Pair:
    """`pair`, with the limit and the compression of `other` where newer; two of one serial: the lower one stays."""
    if other is None or other.uuid != pair.uuid:
        return pair
    change: dict[str, object] = {}
    theirs = other.policy
    if _key(other) > _key(pair):
        change = {"limit_bytes_per_second": theirs.limit_bytes_per_second, "limit_serial": theirs.limit_serial}
    if _compression_key(other) > _compression_key(pair):
        change |= {"compression": theirs.compression, "compression_serial": theirs.compression_serial}
    if not change:
        return pair
    return pair.model_copy(update={"policy": pair.policy.model_copy(update=change)})


def copy_order(
    pair: Pair, source: CopySource, mode: CopyMode, lease_seconds: float, to_sequence: int | None = None
) -> CopyOrder:
    """A journal copy request as the pair's policy has it."""
    return CopyOrder(
        source=source,
        mode=mode,
        to_sequence=to_sequence,
        lease_seconds=lease_seconds,
        restore=RestoreMode(pair.policy.restore),
        limit_bytes_per_second=pair.policy.limit_bytes_per_second,
    )


def limit_words(limit: int) -> str:
    """`10 MiB/s`."""
    return f"{format_size(limit)}/s"


def _key(pair: Pair) -> tuple[int, float]:
    limit = pair.policy.limit_bytes_per_second
    return pair.policy.limit_serial, float("-inf") if limit is None else -limit


def _compression_key(pair: Pair) -> tuple[int, str]:
    return pair.policy.compression_serial, pair.policy.compression
