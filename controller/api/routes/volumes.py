"""/volumes: data volumes of this appliance."""

from __future__ import annotations

from controller import growth, volumes
from controller.api.late import Noun
from controller.api.lifecycle import VolumeResize
from controller.api.models import Name, Volume, VolumeCreate
from controller.api.routes.dependencies import Here

noun = Noun("/volumes", tags=["volumes"])


@noun.get("")
def list_volumes(appliance: Here) -> list[Volume]:
    """All volumes."""
    return volumes.show_all(appliance)


@noun.post("", status_code=201)
def create(appliance: Here, request: VolumeCreate) -> Volume:
    """Make a volume and serve it."""
    return volumes.create(appliance, request)


@noun.get("/{name}")
def show(appliance: Here, name: Name) -> Volume:
    """One volume."""
    return volumes.show(appliance, name)


@noun.post("/{name}/resize")
def resize(appliance: Here, name: Name, order: VolumeResize) -> Volume:
    """Make a volume larger; clients see it when they connect again."""
    return growth.resize(appliance, name, order)


@noun.delete("/{name}", status_code=204)
def delete(appliance: Here, name: Name) -> None:
    """Remove a volume that is in no group and has no clients."""
    volumes.delete(appliance, name)
