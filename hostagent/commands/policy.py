"""`pair set`: what may change of a pair that is made. Either site's agent takes it.

The change is durable here when the command returns. The other agent is told
at once, and when it does not answer now it learns it with the next exchange.
"""

from __future__ import annotations

from hostagent.api.models import PairCompress, PairSet, PairStatus
from hostagent.compression import compressed, refuse_beside_tls
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


def compress(host: Host, group: str, order: PairCompress) -> PairStatus:
    """Take another compression of the transfer."""
    refuse_beside_tls(order.compression, tls=host.config.tls is not None)
    with host.locks.hold(groups=[group]):
        runner, known = host.runner(group), host.store.get(group)
        pair = compressed(known, order.compression)
        runner.keep(pair)
    if pair != known:
        words = f"{group} transfers with compression {order.compression} from now on"
        host.events.emit("info", "pair.compression", words, {"compression": order.compression}, group=group)
    runner.exchange()
    return runner.status()
