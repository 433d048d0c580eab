"""`pairvol events`: what happened, one JSON object a line."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from controller.errors import PeerError
from hostagent.cli.session import Session, plain, verb

if TYPE_CHECKING:
    from controller.api.models import Event

WAIT_SECONDS = 20.0
RETRY_SECONDS = 1.0


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    verb(app, "events")(events)


def events(
    session: Session,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new events as they come.")] = False,
    after: Annotated[int, typer.Option(min=0, metavar="NUMBER", help="Only events after this number.")] = 0,
    group: Annotated[str | None, typer.Option(metavar="GROUP", help="Only events of this group.")] = None,
) -> None:
    """Print events, one JSON object a line. With --follow an agent that is restarted is waited for."""
    ask = session.agent.events
    for event in followed(ask, after) if follow else ask(after, 0.0):
        if group in (None, event.group):
            typer.echo(json.dumps(plain(event)))


def followed(
    ask: Callable[[int, float], list[Event]], after: int, rest: Callable[[float], None] = time.sleep
) -> Iterator[Event]:
    """Events without end, each once. Numbers go on over a restart; where they begin anew, so does this."""
    found, last, silent = ask(after, 0.0), after, False  # an agent that is not there at all is an error
    while True:
        for event in found:
            last = event.number
            yield event
        try:
            if silent:
                newest = max((event.number for event in ask(0, 0.0)), default=0)
                last = last if newest >= last else 0
            found = ask(last, WAIT_SECONDS)
            silent = False
        except PeerError as error:
            if not silent:
                typer.echo(f"pairvol: {error.message}; waiting for it", err=True)
            found, silent = [], True
            rest(RETRY_SECONDS)
