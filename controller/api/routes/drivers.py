"""/groups/NAME/driver and /pairs: which host agent drives, and what agents keep beside a group."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from fastapi import Request

from controller.api.drivers import DRIVER_HEADER, LEASE_HEADER, DriverClaim, DriverLease, KeptPair
from controller.api.late import Noun
from controller.api.models import Name
from controller.api.routes.dependencies import Here
from controller.groups import records

noun = Noun(tags=["drivers"])


async def driven(request: Request, appliance: Here) -> AsyncIterator[None]:
    """Refuses an order that a copy manager gives without driving; an order that carries no token is a person's.

    A look is refused to nobody; one that carries the driver's token renews its lease.
    """
    token, group = request.headers.get(DRIVER_HEADER), request.path_params.get("name")
    lease = request.headers.get(LEASE_HEADER)
    if lease is not None and group is not None:
        appliance.drivers.looked(group, lease)
    if token is None or group is None:
        yield
        return
    with appliance.drivers.order(group, token):
        yield


@noun.post("/groups/{name}/driver")
def claim(appliance: Here, name: Name, order: DriverClaim) -> DriverLease:
    """Drive a group, go on driving it, or learn who does."""
    return records.claim(appliance, name, order)


@noun.delete("/groups/{name}/driver", status_code=204)
def release(appliance: Here, name: Name, agent: Name) -> None:
    """End driving in order."""
    records.release(appliance, name, agent)


@noun.put("/groups/{name}/pair", status_code=204)
def keep(appliance: Here, name: Name, record: dict[str, Any]) -> None:
    """Keep what the driver knows of the pair, for agents that come after it."""
    records.keep(appliance, name, record)


@noun.get("/pairs")
def pairs(appliance: Here) -> list[KeptPair]:
    """Every group with what is kept of its pair."""
    return records.listed(appliance)
