"""/markers and /peer/markers: markers of a pair."""

from __future__ import annotations

from controller.api.late import Noun
from controller.api.markers import NamedMarker
from controller.api.models import Name
from hostagent.api.drills import MarkerPut, MarkerSides, PutMarker
from hostagent.api.routes.dependencies import Here
from hostagent.commands import markers

noun = Noun(tags=["markers"])


@noun.get("/markers/{group}")
def both(host: Here, group: Name) -> MarkerSides:
    """The markers as both sites know them."""
    return markers.both(host, group)


@noun.post("/markers/{group}", status_code=201)
def put(host: Here, group: Name, order: MarkerPut) -> PutMarker:
    """Put a marker behind every write that is acknowledged by now."""
    return markers.put(host, group, order)


@noun.get("/peer/markers/{group}")
def here(host: Here, group: Name) -> list[NamedMarker]:
    """The other agent asks what this site knows."""
    return markers.here(host, group)


@noun.post("/peer/markers/{group}", status_code=201)
def put_forwarded(host: Here, group: Name, order: MarkerPut) -> PutMarker:
    """A marker that the other agent was given."""
    return markers.put(host, group, order, forwarded=True)
