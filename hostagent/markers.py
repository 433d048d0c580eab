"""Markers of a pair: put at the site whose volumes are written, told by both."""

from __future__ import annotations

from controller.api.markers import MarkerOrder, NamedMarker
from controller.errors import ConflictError, PeerError
from hostagent.api.drills import MarkerSides
from hostagent.api.models import Pair
from hostagent.host import Host


def put(host: Host, group: str, order: MarkerOrder, *, forwarded: bool = False) -> NamedMarker:
    """Put a marker here, or let the agent of the site that writes do it."""
    writer, _ = _sites(host.store.get(group))
    if writer == host.site:
        return host.controller.put_marker(group, order)
    if forwarded:
        raise ConflictError(f"{host.site} does not write the volumes of {group}", hint='See "pairvol pair list".')
    return host.peers.get(writer).put_marker(group, order)


def here(host: Host, group: str) -> list[NamedMarker]:
    """As this site knows them."""
    host.store.get(group)
    return host.controller.markers(group)


def both(host: Host, group: str) -> MarkerSides:
    """As both sites know them."""
    primary, secondary = (_of_site(host, group, site) for site in _sites(host.store.get(group)))
    return MarkerSides(primary=primary, secondary=secondary)


def _of_site(host: Host, group: str, site: str) -> list[NamedMarker] | None:
    try:
        return here(host, group) if site == host.site else host.peers.get(site).markers(group)
    except PeerError:
        return None


def _sites(pair: Pair) -> tuple[str, str]:
    """(where the volumes are written, the other one)."""
    sites = pair.primary.site, pair.secondary.site
    return (sites[1], sites[0]) if pair.taken_over else sites
