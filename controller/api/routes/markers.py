"""/groups/NAME/markers: control information in band, found again by its name."""

from __future__ import annotations

from controller.api.late import Noun
from controller.api.markers import MarkerOrder, NamedMarker
from controller.api.models import Name
from controller.api.routes.dependencies import Here
from controller.groups import commands as groups

noun = Noun("/groups", tags=["markers"])


@noun.get("/{name}/markers")
def markers(appliance: Here, name: Name) -> list[NamedMarker]:
    """The markers put here, or passed by restore here, in the order of the journal."""
    return groups.list_markers(appliance, name)


@noun.post("/{name}/markers", status_code=201)
def put(appliance: Here, name: Name, order: MarkerOrder) -> NamedMarker:
    """Put a marker behind every write that is acknowledged by now; durable when this answers."""
    return groups.put_marker(appliance, name, order)
