"""What a group looks like to those who ask: the composition command and the list.

Owns the answer's shape only; reads state, files and keepers, changes nothing.
"""

from __future__ import annotations

from controller import plans
from controller.addresses import bracketed
from controller.api.models import Group, Links, Role, ServerState
from controller.appliance import Appliance
from controller.errors import ConflictError, PairvolError
from controller.groups.indices import free_indices
from controller.state import GroupRecord, Phase


def show(appliance: Appliance, name: str) -> Group:
    """The group with its journal's composition and, at the primary, where it can be read."""
    return view(appliance, appliance.store.document.group(name))


def show_all(appliance: Appliance) -> list[Group]:
    """Every group that is there for good (not one that is just being created)."""
    groups = appliance.store.document.groups
    return [view(appliance, group) for _, group in sorted(groups.items()) if group.composition is not None]


def view(appliance: Appliance, group: GroupRecord) -> Group:
    if group.composition is None:
        raise ConflictError(
            f"group {group.name} is not complete ({group.phase})", hint="Wait a moment and ask again.", group=group.name
        )
    links = make_links(appliance, group)
    return Group(
        name=group.name,
        ready=group.phase is Phase.READY,
        uuid=group.uuid,
        role=group.role,
        generation=group.generation,
        peer_site=group.peer_site,
        volumes=group.volumes,
        journal_path=group.journal_path,
        journal_bytes=group.journal_bytes,
        journal_visible=group.journal_visible,
        journal_export=links.journal_uri if links is not None and group.journal_visible else None,
        composition=group.composition,
        links=links,
        acquisition=group.acquisition,
        free_indices=_free_indices(appliance, group),
        retired=group.retired,
    )


def _free_indices(appliance: Appliance, group: GroupRecord) -> list[int]:
    try:
        return free_indices(appliance, group)
    except PairvolError:  # its files cannot be read: that is told elsewhere
        return []


def make_links(appliance: Appliance, group: GroupRecord) -> Links | None:
    """NBD addresses of a primary's journal and volumes; None while they cannot be read."""
    if group.role not in (Role.PRIMARY, Role.FENCED):
        return None
    servers = (plans.journal_server(group.name), plans.source_server(group.name))
    if any(appliance.servers.state(server) is not ServerState.RUNNING for server in servers):
        return None
    scheme = "nbds" if appliance.config.tls is not None else "nbd"
    host = f"{scheme}://{bracketed(appliance.config.link_address)}"
    journal = f"{host}:{group.journal_port}"
    return Links(
        journal_uri=f"{journal}/journal",
        pointers_uri=f"{journal}/pointers",
        member_uris=[f"{journal}/journal.{number}" for number in range(1, len(group.journal_members))],
        relay=_relay(appliance, group),
        volume_uris={str(volume.index): f"{host}:{group.volume_port}/{volume.name}" for volume in group.volumes},
    )


def _relay(appliance: Appliance, group: GroupRecord) -> str | None:
    """Where it is read compressed. Also while the relay is down: it comes back, and the reader goes round it."""
    host = bracketed(appliance.config.link_address)
    return f"{host}:{group.relay_port}" if plans.compresses(group, appliance.config) and group.relay_port else None
