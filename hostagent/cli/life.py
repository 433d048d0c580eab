"""`pair split` and `pair resync`: a pair stopped, brought back in step, turned. `journal dump`: what is kept."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from controller.errors import NotFoundError
from hostagent.cli.journal import app as journal_app
from hostagent.cli.pair import app
from hostagent.cli.pair_options import GroupArgument
from hostagent.cli.progress import Journals, watched
from hostagent.cli.session import Session, verb

if TYPE_CHECKING:
    from hostagent.api.models import PairStatus


@verb(app, "split")
def split(
    session: Session,
    group: GroupArgument,
    rw: Annotated[bool, typer.Option("--rw", help="Let hosts write the SVOL; resync --force overwrites that.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also with hosts connected to the SVOL.")] = False,
) -> None:
    """Stop replication in a consistent state. The SVOL is readable; changes are tracked."""
    from hostagent.api.models import PairSplit

    look, order = Journals(session, group, f"split of {group}"), PairSplit(writable=rw, force=force)
    _show(session, watched(session, lambda: session.agent.split_pair(group, order), look))


@verb(app, "resync")
def resync(
    session: Session,
    group: GroupArgument,
    swap: Annotated[
        bool, typer.Option("--swap", help="After a takeover: the old primary follows, the direction is reversed.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Give up what only the site that follows has; also disconnect hosts.")
    ] = False,
) -> None:
    """Bring a pair back in step by what differs. Replication goes on from there."""
    from hostagent.api.models import PairResync

    look, order = Journals(session, group, f"resync of {group}"), PairResync(swap=swap, force=force)
    status = watched(session, lambda: session.agent.resync_pair(group, order), look)
    if sys.stdout.isatty() and not session.json:
        from hostagent.cli.live import show_copy

        status = show_copy(session, status, "resync")
    _show(session, status)


@verb(journal_app, "dump", data=False)
def dump(
    session: Session,
    group: GroupArgument,
    orphan: Annotated[
        str | None, typer.Option("--orphan", metavar="NAME", help="A kept tail; NAME 'latest' is the newest.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="Also put each journal's data in a file there.")
    ] = None,
) -> None:
    """Print the journals that this site keeps, one JSON object a line. Give it at the machine of that site."""
    from controller.journal.dump import dump as records

    files = session.agent.journal_files(group)
    path = files.journal_path
    if orphan is not None:
        kept = {each.name: each for each in files.orphans}
        if files.orphans:
            kept.setdefault("latest", files.orphans[-1])
        if orphan not in kept:
            names = ", ".join(each.name for each in files.orphans)
            hint = f"Kept are: {names}." if names else "Ask the site that was the primary before a forced takeover."
            raise NotFoundError(f"no orphan tail {orphan} of {group} is kept at this site", hint=hint)
        path = kept[orphan].path
        first, last = kept[orphan].first_sequence, kept[orphan].last_sequence
    else:
        first, last = 1, None
    for record in records(path, first, last, data):
        typer.echo(json.dumps(record))


def _show(session: Session, status: PairStatus) -> None:
    from hostagent.cli.pair_view import status_text

    session.show(status, lambda: status_text([status]))
