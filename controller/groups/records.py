"""What host agents keep beside a group: one JSON document, durable, never read by the controller."""

from __future__ import annotations

from typing import Any

from controller import durable
from controller.api.drivers import DriverClaim, DriverLease, KeptPair
from controller.appliance import Appliance
from controller.errors import NotFoundError
from controller.paths import GroupPaths


def claim(appliance: Appliance, name: str, order: DriverClaim) -> DriverLease:
    """Who drives a group now, and the pair's record for whoever begins to."""
    appliance.store.document.group(name)
    lease = appliance.drivers.claim(name, order)
    return lease.model_copy(update={"record": read(appliance, name)})


def release(appliance: Appliance, name: str, agent: str) -> None:
    appliance.store.document.group(name)
    appliance.drivers.release(name, agent)


def keep(appliance: Appliance, name: str, record: dict[str, Any]) -> None:
    """Keep the record durably."""
    with appliance.locks.hold(groups=[name]):
        appliance.store.document.group(name)
        durable.write_json(GroupPaths(appliance.paths.group(name)).pair_record, record)


def read(appliance: Appliance, name: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = durable.read_json(GroupPaths(appliance.paths.group(name)).pair_record)
    except NotFoundError:
        return None
    return found


def listed(appliance: Appliance) -> list[KeptPair]:
    """Every group here with its record."""
    groups = appliance.store.document.groups.values()
    return [KeptPair(group=group.name, uuid=group.uuid, record=read(appliance, group.name)) for group in groups]
