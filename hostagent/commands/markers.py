"""Markers of a pair: put at the site whose volumes are written, told by both."""

from __future__ import annotations

import time

from controller.api.markers import MarkerOrder, NamedMarker
from controller.errors import ConflictError, PeerError
from hostagent.api.drills import MarkerPut, MarkerSides, PutMarker
from hostagent.api.models import Pair
from hostagent.hooks import site
from hostagent.host import Host
from hostagent.pairs import PairEvent, refuse_taken_over


def put(host: Host, group: str, order: MarkerPut, *, forwarded: bool = False) -> PutMarker:
    """Put a marker here, or let the agent of the site that writes do it; with the hooks of its hosts around it."""
    pair = host.store.get(group)
    refuse_taken_over(pair, PairEvent.MARK)
    writer, _ = _sites(pair)
    if writer != host.site:
        if forwarded:
            raise ConflictError(f"{host.site} does not write the volumes of {group}", hint='See "pairvol pair list".')
        return host.peers.get(writer).put_marker(group, order)
    marker = MarkerOrder(name=order.name)
    if not (order.freeze or host.quiet.configured):
        return PutMarker(**host.controller.put_marker(group, marker).model_dump())
    with site.quiet(host, group, "marker", order.name, freeze=order.freeze) as still:
        began = time.monotonic()
        found = host.controller.put_marker(group, marker)
    return PutMarker(
        **found.model_dump(),
        frozen=still.frozen,
        silent=still.silent,
        quiet_seconds=round(time.monotonic() - began, 3),
    )


def here(host: Host, group: str) -> list[NamedMarker]:
    """As this site knows them."""
    host.store.get(group)
    return host.controller.markers(group)


def both(host: Host, group: str) -> MarkerSides:
    """As both sites know them."""
    sites = _sites(host.store.get(group))
    known = {site: _of_site(host, group, site) for site in sites}
    silent = {site: host.runner(group).unknown_since(site) for site, markers in known.items() if markers is None}
    return MarkerSides(primary=known[sites[0]], secondary=known[sites[1]], unknown_since_ns=silent)


def _of_site(host: Host, group: str, place: str) -> list[NamedMarker] | None:
    try:
        return here(host, group) if place == host.site else host.peers.get(place).markers(group)
    except PeerError:
        return None


def _sites(pair: Pair) -> tuple[str, str]:
    """(where the volumes are written, the other one)."""
    sites = pair.primary.site, pair.secondary.site
    return (sites[1], sites[0]) if pair.taken_over else sites
