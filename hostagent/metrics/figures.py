"""The metrics of a host agent: names, help and where each comes from.

Owns the names, which alerts and dashboards rely on: they are only ever added.
Base units, `_total` for what only grows. A figure of a side that does not
answer is left out, never its last known value. Reads nothing itself
(hostagent/metrics/collector.py does).
"""

from __future__ import annotations

from typing import Final

from controller.metrics.page import Figure, seconds_of
from hostagent.api.models import PairSide, PairState, PairStatus, PeerContact, Verdict

PAIR_LABELS: Final = ("group",)
SIDE_LABELS: Final = ("group", "site", "side")
PEER_LABELS: Final = ("site",)
PROTECTED: Final = (PairState.PAIR, PairState.PFUL)

PAIRS: Final[tuple[Figure[PairStatus], ...]] = (
    Figure(
        "pairvol_pair_state",
        "State of the pair: " + ", ".join(f"{state.number} {state}" for state in PairState) + ".",
        lambda status: status.number,
    ),
    Figure(
        "pairvol_pair_verdict",
        "Answer to whether the pair is protected: 0 OK, 1 WARN, 2 CRIT.",
        lambda status: list(Verdict).index(status.verdict),
    ),
    Figure(
        "pairvol_pair_protected",
        "1 while writes reach the secondary (states PAIR and PFUL).",
        lambda status: status.state in PROTECTED,
    ),
    Figure(
        "pairvol_pair_lag_seconds",
        "How far the secondary is behind; absent while that is not known.",
        lambda status: status.lag_seconds,
    ),
    Figure(
        "pairvol_pair_lag_at_least_seconds",
        "How far the secondary is behind at least: the lag, or what is known of it after a clock was set back.",
        lambda status: status.lag_seconds_min,
    ),
    Figure(
        "pairvol_pair_lag_bytes",
        "Journal data that the secondary does not have; absent while that is not known.",
        lambda status: status.lag_bytes,
    ),
    Figure(
        "pairvol_pair_last_restored_timestamp_seconds",
        "When the newest journal that the secondary restored was written; absent while the secondary is unknown.",
        lambda status: seconds_of(status.last_restored_ns),
    ),
    Figure(
        "pairvol_pair_last_contact_timestamp_seconds",
        "When the other agent was last heard about this pair.",
        lambda status: seconds_of(status.last_contact_ns),
    ),
    Figure(
        "pairvol_pair_journal_full_in_seconds",
        "When the primary's journal will be full at the present rate; absent while it does not fill, or is unknown.",
        lambda status: status.seconds_to_full,
    ),
    Figure("pairvol_pair_generation", "Generation: each takeover raises it.", lambda status: status.generation),
)

SIDES: Final[tuple[Figure[PairSide], ...]] = (
    Figure(
        "pairvol_pair_side_up", "1 while this side answers, 0 while it is unknown.", lambda side: side.state is not None
    ),
    Figure(
        "pairvol_pair_side_journal_fill_ratio",
        "How full the journal of this side is.",
        lambda side: _ratio(side.journal_percent),
    ),
    Figure(
        "pairvol_pair_side_copy_ratio",
        "How much of the volumes is copied; secondaries only.",
        lambda side: _ratio(side.copy_percent),
    ),
    Figure("pairvol_pair_side_sequence", "Newest journal written, or restored, there.", lambda side: side.sequence),
    Figure(
        "pairvol_pair_side_changed_bytes",
        "Bytes in regions that changed there and are not at the other side.",
        lambda side: side.changed_bytes,
    ),
    Figure(
        "pairvol_pair_side_orphan_tails",
        "Kept tails of journals from lives as primary.",
        lambda side: side.orphan_tails,
    ),
)

PEERS: Final[tuple[Figure[PeerContact], ...]] = (
    Figure("pairvol_peer_up", "1 while the other site's agent answers.", lambda peer: peer.ok),
    Figure(
        "pairvol_peer_last_contact_timestamp_seconds",
        "When the other site's agent was last heard.",
        lambda peer: seconds_of(peer.last_contact_ns),
    ),
)


STATE_LABELS: Final = ("group", "state")
STATES: Final = (
    Figure[float](
        "pairvol_pair_state_seconds_total",
        "Time that the pair was in a state since this agent began to watch it.",
        lambda seconds: seconds,
    ),
)


def _ratio(percent: float | None) -> float | None:
    return None if percent is None else percent / 100


CERTIFICATES: Final[tuple[Figure[float], ...]] = (
    Figure(
        "pairvol_agent_certificate_expires_timestamp_seconds",
        "When the first of this site's certificates expires; absent without [tls].",
        lambda moment: moment,
    ),
)
