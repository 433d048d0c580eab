"""Named markers of a group: put by the primary's volume server in band, listed at either site."""

from __future__ import annotations

from controller import plans, serving
from controller.api.markers import MarkerOrder, NamedMarker
from controller.api.models import Role
from controller.appliance import Appliance
from controller.errors import ConflictError
from controller.groups.marker_list import MarkerList
from controller.paths import GroupPaths
from controller.state import Phase


def put(appliance: Appliance, name: str, order: MarkerOrder) -> NamedMarker:
    """Append a marker to the group's journal; durable, and in the list, when this returns."""
    with appliance.locks.hold(groups=[name]):
        group = appliance.store.document.group(name)
        if group.role is not Role.PRIMARY or group.phase is not Phase.READY:
            raise ConflictError(
                f"cannot put a marker into {name}: it is {group.role} here ({group.phase})",
                hint="Markers are put where the volumes are written.",
                group=name,
            )
        server = plans.group_server(group)
        position = serving.command(appliance, server, "marker", marker=order.name)["position"]
        marker = NamedMarker(name=order.name, sequence=position["sequence"], time_ns=position["time_ns"])
        marker_list(appliance, name).add(marker)
    facts = marker.model_dump(mode="json")
    appliance.events.emit("info", "group.marker", f"group {name}: marker {marker.name} put", facts, group=name)
    return marker


def listed(appliance: Appliance, name: str) -> list[NamedMarker]:
    """The markers that this site knows: put here, or passed by restore here."""
    appliance.store.document.group(name)
    return marker_list(appliance, name).all()


def marker_list(appliance: Appliance, name: str) -> MarkerList:
    return MarkerList(GroupPaths(appliance.paths.group(name)).markers)
