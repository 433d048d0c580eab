"""`pair set`: what may change of a pair that is made. Either site's agent takes it.

The change is durable here when the command returns. The other agent is told
at once, and when it does not answer now it learns it with the next exchange.
"""

from __future__ import annotations

from hostagent.api.models import PairSet, PairStatus
from hostagent.host import Host
from hostagent.limit import limit_words, limited


def change(host: Host, group: str, order: PairSet) -> PairStatus:
    """Take another bandwidth limit."""
    with host.locks.hold(groups=[group]):
        runner, known = host.runner(group), host.store.get(group)
        pair = limited(known, order.limit_bytes_per_second)
        runner.keep(pair)
    if pair != known:
        limit = order.limit_bytes_per_second
        words = "has no bandwidth limit now" if limit is None else f"transfers at most {limit_words(limit)} now"
        facts = {"limit_bytes_per_second": limit}
        host.events.emit("info", "pair.limit", f"{group} {words}", facts, group=group)
    runner.exchange()
    return runner.status()
