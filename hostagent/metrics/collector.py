"""Reads a host agent when it is scraped: every pair as this agent sees it, and the other sites' agents.

Asks nobody: a scrape takes what the copy managers heard at their last beat,
so that a monitoring system neither waits for a site that is gone nor loads
one that is there.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from controller.errors import PairvolError
from controller.metrics.page import build_info, families
from controller.tls import Certificates
from hostagent.api.models import PairStatus
from hostagent.host import Host
from hostagent.metrics.figures import (
    CERTIFICATES,
    PAIR_LABELS,
    PAIRS,
    PEER_LABELS,
    PEERS,
    SIDE_LABELS,
    SIDES,
    STATE_LABELS,
    STATES,
)


def first_expiry(certificates: Certificates | None) -> float | None:
    """In seconds of the epoch; None also for files that cannot be read, of which others tell."""
    if certificates is None:
        return None
    from controller.certificates import expires  # loads what an agent without certificates does not need

    try:
        return min(expires(certificates.directory / name).timestamp() for name in certificates.certificate_names)
    except PairvolError:
        return None


class HostCollector(Collector):
    """Everything that a host agent tells a monitoring system."""

    def __init__(self, host: Host, version: str) -> None:
        self._host = host
        self._version = version

    def collect(self) -> Iterator[Metric]:
        host = self._host
        yield build_info("agent", host.site, self._version)
        yield GaugeMetricFamily(
            "pairvol_agent_pairs", "Pairs that this site takes part in.", value=len(host.store.all())
        )
        statuses = self._statuses()
        yield from families(PAIRS, PAIR_LABELS, [((status.group,), status) for status in statuses])
        sides = [((status.group, side.site, side.side), side) for status in statuses for side in status.sides]
        yield from families(SIDES, SIDE_LABELS, sides)
        times = [((group, str(state)), seconds) for group, state, seconds in host.history.state_seconds()]
        yield from families(STATES, STATE_LABELS, times)
        expiry = first_expiry(host.config.certificates)
        if expiry is not None:
            yield from families(CERTIFICATES, (), [((), expiry)])
        heard = [peer for peer in host.peers.known() if peer.last_contact_ns or peer.failure]
        yield from families(PEERS, PEER_LABELS, [((peer.site,), peer) for peer in heard])

    def _statuses(self) -> list[PairStatus]:
        """Of the pairs of which something is known yet."""
        found = [runner.seen() for runner in self._host.runners.all()]
        return [status for status in found if status is not None]
