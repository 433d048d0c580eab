"""`pairvol events`: what happened, one JSON object a line."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from hostagent.cli.session import Session, plain, verb

WAIT_SECONDS = 20.0


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    verb(app, "events")(events)


def events(
    session: Session,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new events as they come.")] = False,
    after: Annotated[int, typer.Option(min=0, metavar="NUMBER", help="Only events after this number.")] = 0,
    group: Annotated[str | None, typer.Option(metavar="GROUP", help="Only events of this group.")] = None,
) -> None:
    """Print events, one JSON object a line."""
    last = after
    while True:
        for event in session.agent.events(after=last, wait=WAIT_SECONDS if follow and last > after else 0.0):
            last = max(last, event.number)
            if group in (None, event.group):
                typer.echo(json.dumps(plain(event)))
        if not follow:
            return
