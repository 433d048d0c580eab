"""`pairvol volume`: data volumes and the block devices made of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from controller.units import format_size, parse_size
from hostagent.cli.output import NONE, table
from hostagent.cli.progress import Waiting, goes_on, watched
from hostagent.cli.session import Session, noun, validated, verb

if TYPE_CHECKING:
    from controller.api.models import Volume
    from hostagent.api.models import Attachment

app = noun("volume", "Data volumes, and the block devices made of them.")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The volume.")]
OnOption = Annotated[
    str | None, typer.Option("--on", metavar="HOST", help="At that host of the site, not the agent's own.")
]


@verb(app, "create")
def create(
    session: Session,
    name: NameArgument,
    size: Annotated[str, typer.Argument(help="Such as 10G or 512MiB.")],
    backing: Annotated[
        str | None, typer.Option(metavar="PATH", help="A file or block device to keep it on; a sparse file otherwise.")
    ] = None,
) -> None:
    """Create a volume at this site."""
    from controller.api.models import VolumeCreate

    if backing is not None and "://" not in backing:
        backing = str(Path(backing).absolute())
    order = validated(VolumeCreate, name=name, size_bytes=parse_size(size), backing=backing)
    look, left = Waiting(f"volume {name} to be made"), goes_on(f"the creation of {name}", f"volume show {name}", "")
    volume = watched(lambda: session.agent.create_volume(order), look, left)
    session.show(volume, lambda: f"{volume.name}: {format_size(volume.size_bytes)} at {volume.backing}")


@verb(app, "list")
def list_(session: Session) -> None:
    """List the volumes of this site."""
    agent = session.agent
    volumes = agent.volumes()
    devices = {} if session.json else {each.volume: each for each in agent.attachments()}
    session.show(volumes, lambda: volume_table(volumes, devices) if volumes else "no volumes")


@verb(app, "show")
def show(session: Session, name: NameArgument) -> None:
    """Show one volume."""
    volume = session.agent.volume(name)
    session.show(volume, lambda: volume_details(volume))


@verb(app, "delete", data=False)
def delete(session: Session, name: NameArgument) -> None:
    """Delete a volume that belongs to no pair."""
    look, left = Waiting(f"volume {name} to be deleted"), goes_on(f"the deletion of {name}", "volume list", "")
    watched(lambda: session.agent.delete_volume(name), look, left)


@verb(app, "attach")
def attach(
    session: Session,
    name: NameArgument,
    uri: Annotated[bool, typer.Option("--uri", help="Print the NBD address instead of making a device.")] = False,
    readonly: Annotated[bool, typer.Option("--readonly", help="Refuse writes at the device.")] = False,
    on: OnOption = None,
) -> None:
    """Make a block device of a volume and print its path."""
    from hostagent.api.models import AttachOrder

    order = AttachOrder(volume=name, readonly=readonly, uri_only=uri)
    look, left = Waiting(f"the device of {name}"), goes_on(f"the attachment of {name}", "volume list")
    attachment = watched(lambda: session.agent.attach(order, on), look, left)
    session.show(attachment, lambda: attachment.device or attachment.uri)


@verb(app, "detach", data=False)
def detach(session: Session, name: NameArgument, on: OnOption = None) -> None:
    """Take the block device away again. Unmount it first."""
    look, left = Waiting(f"the device of {name} to be let go"), goes_on(f"the detachment of {name}", "volume list", "")
    watched(lambda: session.agent.detach(name, on), look, left)


def volume_table(volumes: list[Volume], devices: dict[str, Attachment]) -> str:
    """One line a volume."""
    rows = []
    for volume in volumes:
        attachment = devices.get(volume.name)
        rows.append(
            (
                volume.name,
                format_size(volume.size_bytes),
                volume.group or NONE,
                str(volume.role or NONE),
                "failed" if volume.failure else str(volume.server),
                (attachment.device if attachment else None) or NONE,
                volume.backing,
            )
        )
    return table(("NAME", "SIZE", "GROUP", "ROLE", "SERVER", "DEVICE", "BACKING"), rows, right=("SIZE",))


def volume_details(volume: Volume) -> str:
    """One line a property."""
    lines = {
        "name": volume.name,
        "size": f"{format_size(volume.size_bytes)} ({volume.size_bytes} bytes)",
        "uuid": volume.uuid,
        "backing": volume.backing,
        "group": f"{volume.group} ({volume.role})" if volume.group else NONE,
        "writable": "yes" if volume.writable else "no",
        "server": str(volume.server),
        "address": volume.uri or NONE,
    }
    if volume.failure:
        lines["failure"] = volume.failure
    return "\n".join(f"{key:<9} {value}" for key, value in lines.items())
