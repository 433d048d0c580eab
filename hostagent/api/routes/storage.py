"""/pool and /volumes, as the site's controller answers them; and volumes as block devices of this host."""

from __future__ import annotations

from fastapi import APIRouter

from controller.api.models import Name, PoolAdd, PoolVolume, Volume, VolumeCreate
from controller.errors import UsageError
from hostagent.api.models import Attachment, AttachOrder
from hostagent.api.routes.dependencies import Here

router = APIRouter(tags=["volumes"])


@router.get("/pool")
def pool(host: Here) -> list[PoolVolume]:
    """All pool volumes."""
    return host.controller.pool()


@router.post("/pool", status_code=201)
def add_to_pool(host: Here, request: PoolAdd) -> PoolVolume:
    """Put a volume at the disposal of journals."""
    return host.controller.add_to_pool(request)


@router.delete("/pool/{name}", status_code=204)
def remove_from_pool(host: Here, name: Name) -> None:
    """Take a volume out of the pool."""
    host.controller.remove_from_pool(name)


@router.get("/volumes")
def volumes(host: Here) -> list[Volume]:
    """All volumes."""
    return host.controller.volumes()


@router.post("/volumes", status_code=201)
def create_volume(host: Here, request: VolumeCreate) -> Volume:
    """Make a volume."""
    return host.controller.create_volume(request)


@router.get("/volumes/{name}")
def volume(host: Here, name: Name) -> Volume:
    """One volume."""
    return host.controller.volume(name)


@router.delete("/volumes/{name}", status_code=204)
def delete_volume(host: Here, name: Name) -> None:
    """Remove a volume that is in no pair and has no clients."""
    host.controller.delete_volume(name)
    host.devices.forget_address(name)


@router.get("/attachments")
def attachments(host: Here) -> list[Attachment]:
    """What is attached at this host."""
    return host.devices.shown()


@router.post("/volumes/{name}/attach", status_code=201)
def attach(host: Here, name: Name, order: AttachOrder) -> Attachment:
    """Make a block device of a volume, on this host."""
    if order.volume != name:
        raise UsageError(f"the order is for {order.volume}, the path for {name}", hint="Name one volume.")
    attachment = host.devices.attach(host.controller.volume(name), order)
    shown = attachment.device or attachment.uri
    host.events.emit("info", "volume.attached", f"volume {name} attached as {shown}", {"method": attachment.method})
    return attachment


@router.delete("/volumes/{name}/attach", status_code=204)
def detach(host: Here, name: Name) -> None:
    """Take the block device away; refused while it is in use."""
    host.devices.detach(name)
    host.events.emit("info", "volume.detached", f"volume {name} detached")
