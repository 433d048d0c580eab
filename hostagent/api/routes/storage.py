"""/pool and /volumes, as the site's controller answers them; and volumes as block devices of this host."""

from __future__ import annotations

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool

from controller.api.late import Noun
from controller.api.models import Name, PoolAdd, PoolVolume, Volume, VolumeCreate
from controller.errors import UsageError
from hostagent.api.forward import RelayedError, relay
from hostagent.api.models import Attachment, AttachOrder
from hostagent.api.routes.dependencies import Here
from hostagent.attach.elsewhere import refuse_attached_elsewhere

noun = Noun(tags=["volumes"])


@noun.get("/pool")
def pool(host: Here) -> list[PoolVolume]:
    """All pool volumes."""
    return host.controller.pool()


@noun.post("/pool", status_code=201)
def add_to_pool(host: Here, request: PoolAdd) -> PoolVolume:
    """Put a volume at the disposal of journals."""
    return host.controller.add_to_pool(request)


@noun.delete("/pool/{name}", status_code=204)
def remove_from_pool(host: Here, name: Name) -> None:
    """Take a volume out of the pool."""
    host.controller.remove_from_pool(name)


@noun.get("/volumes")
def volumes(host: Here) -> list[Volume]:
    """All volumes."""
    return host.controller.volumes()


@noun.post("/volumes", status_code=201)
def create_volume(host: Here, request: VolumeCreate) -> Volume:
    """Make a volume."""
    return host.controller.create_volume(request)


@noun.get("/volumes/{name}")
def volume(host: Here, name: Name) -> Volume:
    """One volume."""
    return host.controller.volume(name)


@noun.delete("/volumes/{name}", status_code=204)
def delete_volume(host: Here, name: Name) -> None:
    """Remove a volume that is in no pair and has no clients."""
    host.controller.delete_volume(name)
    host.devices.forget_address(name)


@noun.get("/attachments")
def attachments(host: Here) -> list[Attachment]:
    """What is attached at this host."""
    return host.devices.shown()


async def on_host(request: Request, host: Here, on: Name | None = None) -> None:
    """Hand on to the host that was named."""
    if on is not None and on != host.config.host_name:
        raise RelayedError(await run_in_threadpool(relay, host, on, request, await request.body()))


OnHost = [Depends(on_host)]


@noun.post("/volumes/{name}/attach", status_code=201, dependencies=OnHost)
def attach(host: Here, name: Name, order: AttachOrder) -> Attachment:
    """Make a block device of a volume, on this host or on the one named by `on`."""
    if order.volume != name:
        raise UsageError(f"the order is for {order.volume}, the path for {name}", hint="Name one volume.")
    if not (order.readonly or order.uri_only):
        refuse_attached_elsewhere(host, name)
    attachment = host.devices.attach(host.controller.volume(name), order)
    shown = attachment.device or attachment.uri
    host.events.emit("info", "volume.attached", f"volume {name} attached as {shown}", {"method": attachment.method})
    return attachment


@noun.delete("/volumes/{name}/attach", status_code=204, dependencies=OnHost)
def detach(host: Here, name: Name) -> None:
    """Take the block device away; refused while it is in use."""
    host.devices.detach(name)
    host.events.emit("info", "volume.detached", f"volume {name} detached")
