"""`pair split` and `pair resync`: a pair stopped, brought back in step, turned.

`journal dump` and `journal drop`: what is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from controller.units import format_size
from hostagent.cli.journal import app as journal_app
from hostagent.cli.output import count, counted
from hostagent.cli.pair import app
from hostagent.cli.pair_options import GroupArgument
from hostagent.cli.progress import Journals, Waiting, goes_on, watched
from hostagent.cli.session import Session, verb

if TYPE_CHECKING:
    from controller.api.lifecycle import Orphan
    from hostagent.api.models import PairStatus

ORPHAN_HELP: Final = "A kept tail; NAME 'latest' is the newest."


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
    left = goes_on("the split", f"pair status {group}")
    _show(session, watched(lambda: session.agent.split_pair(group, order), look, left))


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
    """Bring a pair back in step by what differs. After a takeover the old primary is kept, unless --swap is given."""
    from hostagent.api.models import PairResync
    from hostagent.cli.live import show_copy

    look, order = Journals(session, group, f"resync of {group}"), PairResync(swap=swap, force=force)
    left = goes_on("the resync", f"pair status {group}")
    status = watched(lambda: session.agent.resync_pair(group, order), look, left)
    _show(session, show_copy(session, status, "resync of"))


@verb(journal_app, "dump")
def dump(
    session: Session,
    group: GroupArgument,
    orphan: Annotated[str | None, typer.Option("--orphan", metavar="NAME", help=ORPHAN_HELP)] = None,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="Also put each journal's data in a file there.")
    ] = None,
) -> None:
    """Print the journals that this site keeps, one JSON object a line. Give it at the machine of that site."""
    from controller.journal.dump import dump as records
    from hostagent.orphans import named

    files = session.agent.journal_files(group)
    path, first, last = files.journal_path, 1, None
    if orphan is not None:
        kept = named(files.orphans, group, orphan)
        path, first, last = kept.path, kept.first_sequence, kept.last_sequence
    for record in records(path, first, last, data):
        typer.echo(json.dumps(record))


@verb(journal_app, "drop")
def drop(
    session: Session,
    group: GroupArgument,
    orphan: Annotated[str, typer.Option("--orphan", metavar="NAME", help=ORPHAN_HELP)],
    force: Annotated[bool, typer.Option("--force", help="They are nowhere else.")] = False,
) -> None:
    """Drop journals that this site keeps of an earlier life as primary. Without --force it only says how many."""
    look = Waiting(f"kept journals of {group} to be dropped")
    left = goes_on("the drop", "events", "")
    gone = watched(lambda: session.agent.drop_orphan(group, orphan, force), look, left)
    session.show(gone, lambda: f"{group}: dropped {_orphan_words(gone)}")


def _orphan_words(orphan: Orphan) -> str:
    span = f"{count(orphan.first_sequence)} to {count(orphan.last_sequence)} of generation {orphan.generation}"
    return f"{counted(orphan.journals, 'journal')} ({format_size(orphan.data_bytes)}), {span}"


def _show(session: Session, status: PairStatus) -> None:
    from hostagent.cli.pair_view import status_text

    session.show(status, lambda: status_text([status]))
