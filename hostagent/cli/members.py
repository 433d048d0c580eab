"""`pair add` and `pair remove`: volumes join a living pair and leave it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hostagent.cli.pair import app
from hostagent.cli.pair_options import GroupArgument
from hostagent.cli.session import Session, verb

if TYPE_CHECKING:
    from hostagent.api.models import PairStatus


@verb(app, "add")
def add(
    session: Session,
    group: GroupArgument,
    primary: Annotated[str, typer.Option("--primary", metavar="VOL[,VOL...]", help="Volumes of the primary site.")],
    secondary: Annotated[
        str | None,
        typer.Option("--secondary", metavar="VOL[,VOL...]", help="Their partners, made if need be; else named alike."),
    ] = None,
) -> None:
    """Take volumes into a pair. Hosts of its other volumes write on; what joins is copied, in order with them."""
    names = primary.split(",")
    _show(session, session.agent.add_volumes(group, names, secondary.split(",") if secondary else names))


@verb(app, "remove")
def remove(
    session: Session,
    group: GroupArgument,
    volumes: Annotated[str, typer.Argument(metavar="VOL[,VOL...]", help="As they are called at the primary site.")],
) -> None:
    """Let volumes of a pair go: at both sites each is by itself then, with the same content."""
    _show(session, session.agent.remove_volumes(group, volumes.split(",")))


def _show(session: Session, status: PairStatus) -> None:
    from hostagent.cli.pair_view import status_text

    session.show(status, lambda: status_text([status]))
