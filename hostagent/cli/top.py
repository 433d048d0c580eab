"""`pairvol top`: every pair of a site in one live table."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from controller.errors import NotFoundError, PairvolError
from hostagent.cli.session import Session, print_json, verb

if TYPE_CHECKING:
    from hostagent.cli.top_view import Look
    from hostagent.client import Agent

REFRESH_SECONDS = 1.0
RATE_SECONDS = 0.5


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    verb(app, "top")(top)


def top(
    session: Session,
    once: Annotated[bool, typer.Option("--once", help="Print one table and end; so without a terminal.")] = False,
) -> None:
    """Show every pair live: state, rates, lag, journal fill with its forecast, progress of copies."""
    from hostagent.cli.top_view import rows, top_text

    agent = session.agent
    if once or session.json or not sys.stdout.isatty():
        earlier = looks(agent)
        time.sleep(RATE_SECONDS if earlier else 0)  # a rate needs two looks
        figures = rows(earlier, looks(agent))
        if session.json:
            print_json({"pairs": figures})
        else:
            typer.echo(top_text(figures))
        return
    with suppress(KeyboardInterrupt):
        _live(agent)


def looks(agent: Agent) -> dict[str, Look]:
    """Every pair now. Journals of a pair with a side that is unknown are not asked for: they would keep us waiting."""
    from hostagent.api.models import JournalSides
    from hostagent.cli.top_view import Look

    found = {}
    for status in agent.pair_statuses():
        journals = JournalSides(primary=None, secondary=None)
        if all(side.state is not None for side in status.sides):
            with suppress(NotFoundError):  # deleted meanwhile
                journals = agent.journal(status.group)
        found[status.group] = Look(status, journals)
    return found


def _live(agent: Agent) -> None:
    from rich.live import Live
    from rich.text import Text

    from hostagent.cli.top_view import rows, top_text

    earlier: dict[str, Look] = {}
    with Live(auto_refresh=False, screen=True) as live:
        while True:
            try:
                later = looks(agent)
                text = top_text(rows(earlier, later))
                earlier = later
            except PairvolError as error:  # the agent may come back
                text = f"pairvol: {error.message}\nHINT: {error.hint}"
            live.update(Text.from_ansi(text, no_wrap=True, overflow="ellipsis"), refresh=True)
            time.sleep(REFRESH_SECONDS)
