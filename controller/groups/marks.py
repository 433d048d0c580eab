"""Markers of a group: put by the primary's volume server in band, listed at either site.

Some come by themselves. What the volume server puts when it suspends and
resumes is found in the journal again, where the dirty map says that it is.
"""

from __future__ import annotations

from contextlib import suppress

from controller import plans, serving
from controller.api.markers import MarkerOrder, NamedMarker
from controller.api.models import Role
from controller.appliance import Appliance
from controller.errors import ConflictError, PairvolError
from controller.groups.marker_list import MarkerList
from controller.groups.suspension import read_map
from controller.journal.layout import Kind
from controller.paths import GroupPaths
from controller.restore.program import Marker
from controller.state import GroupRecord, Phase


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
        if order.once_after is not None:
            known = [each for each in marker_list(appliance, name).all() if each.kind is order.kind]
            if known and known[-1].sequence > order.once_after:
                return known[-1]
        server = plans.group_server(group)
        position = serving.command(appliance, server, "marker", marker=order.name, kind=str(order.kind))["position"]
        marker = NamedMarker(
            name=order.name, sequence=position["sequence"], time_ns=position["time_ns"], kind=order.kind
        )
        marker_list(appliance, name).add(marker)
    facts = marker.model_dump(mode="json")
    appliance.events.emit("info", "group.marker", f"group {name}: marker {marker.name} put", facts, group=name)
    return marker


def listed(appliance: Appliance, name: str) -> list[NamedMarker]:
    """The markers that this site knows: put here, or passed by restore here."""
    group = appliance.store.document.group(name)
    known = marker_list(appliance, name)
    if group.role is Role.PRIMARY:
        with suppress(PairvolError):  # the list is as good as it was
            known.complete(_of_suspension(appliance, group))
    return known.all()


def marker_list(appliance: Appliance, name: str) -> MarkerList:
    return MarkerList(GroupPaths(appliance.paths.group(name)).markers)


def note_suspension(appliance: Appliance, name: str) -> None:
    """A suspension began or ended just now: its marker is in the list before the journal goes over it."""
    listed(appliance, name)


def _of_suspension(appliance: Appliance, group: GroupRecord) -> list[Marker]:
    """The journals at the position of the dirty map, and behind it, as far as they are markers."""
    found = read_map(appliance, group)
    if found is None:
        return []
    last = found.head.position.sequence
    journal, markers = appliance.open_groups.get(group).journal, []
    for sequence in (last, last + 1):
        for record in journal.records(sequence, sequence) if sequence else ():
            if record["sequence"] == sequence and record["kind"] == Kind.MARKER:
                place = int(record["data_position"]), int(record["data_blocks"])
                markers.append(Marker(sequence, int(record["time_ns"]), b"".join(journal.data_views(*place))))
    return markers
