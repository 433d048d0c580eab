"""`pair takeover` and `pair delete`: a side of a pair is given up, and what was only there is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from controller.errors import PeerError
from controller.units import counted, format_size
from hostagent.cli.pair import app
from hostagent.cli.pair_options import GroupArgument
from hostagent.cli.progress import Journals, goes_on, watched
from hostagent.cli.session import Session, verb

if TYPE_CHECKING:
    from hostagent.api.models import DroppedAt


@verb(app, "takeover")
def takeover(
    session: Session,
    group: GroupArgument,
    force: Annotated[bool, typer.Option("--force", help="Go on although journals will be missing.")] = False,
    to: Annotated[
        str | None, typer.Option("--to", metavar="SITE", help="Only if that site is not the primary already.")
    ] = None,
) -> None:
    """Make the secondary site serve the volumes.

    Planned when the primary answers: nothing is missing then, and the pair
    runs in the other direction at once. Otherwise forced, with what has
    arrived; the report says what is missing. To go back within a minute,
    name the site.
    """
    from hostagent.cli.pair_view import takeover_text

    # Named here, so that the command cannot turn the pair back when it is carried out twice.
    goal = to or next((pair.secondary.site for pair in session.agent.pairs() if pair.group == group), None)
    look = Journals(session, group, f"takeover of {group}")
    again = f"give it again with --to {goal}" if goal is not None else ""
    left = goes_on("the takeover", f"pair status {group}", again)
    try:
        named = to is not None
        report = watched(lambda: session.agent.take_over(group, force=force, to=goal, named=named), look, left)
    except PeerError as error:
        if goal is not None:
            again = f'If it was cut short, "pairvol pair takeover {group} --to {goal}" goes on and never turns back.'
            error.hint = f"{error.hint} {again}".strip()
        raise
    session.show(report, lambda: takeover_text(report))


@verb(app, "delete")
def delete(
    session: Session,
    group: GroupArgument,
    force: Annotated[
        bool, typer.Option("--force", help="Also when the other site does not answer; drops what is nowhere else.")
    ] = False,
) -> None:
    """End a pair. Both volumes stay, each with what it holds. Prints what --force dropped, and nothing otherwise."""
    look = Journals(session, group, f"end of {group}")
    left = goes_on("the end of the pair", f"pair status {group}")
    ended = watched(lambda: session.agent.delete_pair(group, force=force), look, left)
    lines = [_dropped(each) for each in ended.dropped]
    if ended.left is not None:
        lines.append(f'{ended.left} did not answer and keeps its side; end it there: "pairvol pair delete {group}"')
    if session.json or lines:
        session.show(ended, lambda: "\n".join(lines))


def _dropped(each: DroppedAt) -> str:
    """One line of what was nowhere else."""
    journals = "an unknown number of journals" if each.journals is None else counted(each.journals, "journal")
    size = "" if each.data_bytes is None else f" ({format_size(each.data_bytes)})"
    where = {
        "orphan": "kept as an orphan tail",
        "tail": "that never reached the other site; the volume keeps these writes",
        "secondary": "not yet restored",
        "primary": "not yet in the volume",
    }.get(each.what, each.what)
    return f"dropped at {each.site}: {journals}{size} {where}"
