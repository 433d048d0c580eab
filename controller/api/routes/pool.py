"""/pool: unused volumes that journals may be chosen from."""

from __future__ import annotations

from controller import pool
from controller.api.late import Noun
from controller.api.models import Name, PoolAdd, PoolVolume
from controller.api.routes.dependencies import Here

noun = Noun("/pool", tags=["pool"])


@noun.get("")
def list_pool(appliance: Here) -> list[PoolVolume]:
    """All pool volumes."""
    return pool.show_all(appliance)


@noun.post("", status_code=201)
def add(appliance: Here, request: PoolAdd) -> PoolVolume:
    """Put a volume at the disposal of journals."""
    return pool.add(appliance, request)


@noun.delete("/{name}", status_code=204)
def remove(appliance: Here, name: Name) -> None:
    """Take a volume out of the pool."""
    pool.remove(appliance, name)
