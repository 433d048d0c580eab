"""`pair add` and `pair remove`: volumes join a living pair and leave it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from controller.errors import UsageError
from hostagent.cli.pair import app
from hostagent.cli.pair_options import GroupArgument
from hostagent.cli.progress import Journals, goes_on, watched
from hostagent.cli.session import Session, verb

if TYPE_CHECKING:
    from hostagent.api.models import PairStatus


@verb(app, "add")
def add(
    session: Session,
    group: GroupArgument,
    primary: Annotated[
        str, typer.Option("--primary", metavar="[SITE:]VOL[,VOL...]", help="Volumes of the primary site.")
    ],
    secondary: Annotated[
        str | None,
        typer.Option(
            "--secondary", metavar="[SITE:]VOL[,VOL...]", help="Their partners, made if need be; named alike."
        ),
    ] = None,
) -> None:
    """Take volumes into a pair. Hosts of its other volumes write on; what joins is copied, in order with them.

    On a terminal the progress of that copy is shown; Ctrl-C leaves the
    display and the copy goes on.
    """
    from hostagent.cli.live import show_copy

    names = _at(session, group, primary, "primary")
    partners = _at(session, group, secondary, "secondary") if secondary else names
    look = Journals(session, group, f"waiting for {', '.join(names)} to join {group}")
    left = goes_on(f"the join of {', '.join(names)}", f"pair status {group}")
    status = watched(lambda: session.agent.add_volumes(group, names, partners), look, left)
    _show(session, show_copy(session, status, f"copy of {', '.join(names)} in"))


@verb(app, "remove")
def remove(
    session: Session,
    group: GroupArgument,
    volumes: Annotated[str, typer.Argument(metavar="[SITE:]VOL[,VOL...]", help="As the primary site calls them.")],
) -> None:
    """Let volumes of a pair go: at both sites each is by itself then, with the same content."""
    names = _at(session, group, volumes, "primary")
    look = Journals(session, group, f"waiting for {', '.join(names)} to leave {group}")
    left = goes_on(f"the removal of {', '.join(names)}", f"pair status {group}")
    _show(session, watched(lambda: session.agent.remove_volumes(group, names), look, left))


def _at(session: Session, group: str, text: str, side: str) -> list[str]:
    """`index`, or `tokyo:index` when that is the site of this side, as in `pair create`."""
    site, colon, volumes = text.rpartition(":")
    if colon:
        pair = next((pair for pair in session.agent.pairs() if pair.group == group), None)
        right = getattr(pair, side).site if pair is not None else site
        if site != right:
            raise UsageError(
                f"{site} is not the {side} site of {group}, {right} is",
                hint=f'Name volumes of {right}; see "pairvol pair list".',
            )
    return volumes.split(",")


def _show(session: Session, status: PairStatus) -> None:
    from hostagent.cli.pair_view import status_text

    session.show(status, lambda: status_text([status]))
