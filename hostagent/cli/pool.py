"""`pairvol pool`: unused volumes that journals may be chosen from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from controller.units import format_size, parse_size
from hostagent.cli.output import table
from hostagent.cli.progress import Waiting, goes_on, watched
from hostagent.cli.session import Session, noun, validated, verb

app = noun("pool", "Unused volumes that journals may be chosen from.")


@verb(app, "add")
def add(
    session: Session,
    name: Annotated[str, typer.Argument(help="What to call it.")],
    size: Annotated[str | None, typer.Argument(help="Size of a new file, such as 8G.")] = None,
    path: Annotated[
        Path | None, typer.Option(help="An existing file or block device instead; its data is lost.")
    ] = None,
) -> None:
    """Put an unused volume at the disposal of journals."""
    from controller.api.models import PoolAdd

    if (size is None) == (path is None):
        raise typer.BadParameter("give either a SIZE to create or the --path of an existing volume")
    order = validated(
        PoolAdd,
        name=name,
        path=str(path.absolute()) if path else None,
        size_bytes=parse_size(size) if size else None,
    )
    look, left = Waiting(f"{name} to be allocated"), goes_on(f"the allocation of {name}", "pool list", "")
    volume = watched(lambda: session.agent.add_to_pool(order), look, left)
    session.show(volume, lambda: f"{volume.name}: {format_size(volume.size_bytes)} at {volume.path}")


@verb(app, "list")
def list_(session: Session) -> None:
    """List the volumes in the pool."""
    volumes = session.agent.pool()
    session.show(
        volumes,
        lambda: (
            table(
                ("NAME", "SIZE", "PATH"),
                [(volume.name, format_size(volume.size_bytes), volume.path) for volume in volumes],
                right=("SIZE",),
            )
            if volumes
            else 'the pool is empty; "pairvol pool add journal-1 8G" fills it'
        ),
    )


@verb(app, "remove", data=False)
def remove(session: Session, name: Annotated[str, typer.Argument(help="A volume of the pool.")]) -> None:
    """Take a volume out of the pool. Its file stays unless pairvol made it."""
    look, left = Waiting(f"{name} to leave the pool"), goes_on(f"the removal of {name}", "pool list", "")
    watched(lambda: session.agent.remove_from_pool(name), look, left)
