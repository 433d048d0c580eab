"""`pairvol journal`: pointers, fill and rate of a group's journals, and the commands that move them."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from hostagent.cli.output import count
from hostagent.cli.progress import Journals, Waiting, goes_on, watched
from hostagent.cli.session import Session, noun, verb

if TYPE_CHECKING:
    from controller.api.models import JournalState

app = noun("journal", "Journals of a pair: acquisition, copy, restore, purge.")

RATE_SECONDS = 0.5
POLL_SECONDS = 0.2

GroupArgument = Annotated[str, typer.Argument(metavar="GROUP", help="The pair's group.")]
ToOption = Annotated[
    int | None, typer.Option("--to", min=0, metavar="SEQ", help="Up to this journal; everything otherwise.")
]


@verb(app, "status")
def status(session: Session, group: GroupArgument) -> None:
    """Show pointers, fill, forecast, rate and lag of both journals of a pair."""
    from hostagent.cli.journal_view import journal_report, journal_text

    earlier = session.agent.journal(group)
    time.sleep(RATE_SECONDS)  # a rate needs two looks
    later = session.agent.journal(group)
    report = journal_report(session.agent.pair_status(group), earlier, later)  # asked last: it knows what these told
    if session.json:
        from hostagent.cli.session import print_json

        print_json(report)
    else:
        typer.echo(journal_text(report))


@verb(app, "start")
def start(
    session: Session,
    group: GroupArgument,
    force: Annotated[
        bool, typer.Option("--force", help="After a takeover cut short: also when the other site does not answer.")
    ] = False,
) -> None:
    """Start journal acquisition at the primary; one that refuses hosts serves again."""
    look, left = Waiting(f"acquisition of {group} to start"), _goes_on("the start of acquisition", group)
    _show(session, watched(lambda: session.agent.start_journal(group, force=force), look, left))


@verb(app, "stop")
def stop(session: Session, group: GroupArgument) -> None:
    """Stop journal acquisition at the primary. The SVOL falls behind from then on."""
    look, left = Waiting(f"acquisition of {group} to stop"), _goes_on("the stop of acquisition", group)
    _show(session, watched(lambda: session.agent.stop_journal(group), look, left))


@verb(app, "copy")
def copy(session: Session, group: GroupArgument, to: ToOption = None) -> None:
    """Let the secondary read journals now."""
    look, left = Waiting(f"the copy of {group}"), _goes_on("the copy", group)
    state = watched(lambda: session.agent.copy_journal(group, to), look, left)
    _show(session, _followed(session, state, "already_read", to, left))


@verb(app, "restore")
def restore(session: Session, group: GroupArgument, to: ToOption = None) -> None:
    """Apply journals that the secondary has read to the SVOL."""
    look, left = Waiting(f"the restore of {group}"), _goes_on("the restore", group)
    state = watched(lambda: session.agent.restore_journal(group, to), look, left)
    _show(session, _followed(session, state, "already_restored", to, left))


@verb(app, "purge")
def purge(session: Session, group: GroupArgument, to: ToOption = None) -> None:
    """Free journals of the primary that the secondary has confirmed."""
    look, left = Waiting(f"the purge of {group}"), _goes_on("the purge", group)
    _show(session, watched(lambda: session.agent.purge_journal(group, to), look, left))


def _goes_on(what: str, group: str) -> str:
    return goes_on(what, f"journal status {group}")


def _followed(session: Session, state: JournalState, pointer: str, to: int | None, left: str) -> JournalState:
    """On a terminal: the state when the journal named by --to is reached; Ctrl-C ends the display alone."""
    if to is None or session.json or not (sys.stdout.isatty() and sys.stderr.isatty()):
        return state
    last = [state]

    def follow() -> None:
        while last[-1].failure is None and last[-1].pointers[pointer].sequence < to:
            time.sleep(POLL_SECONDS)
            found = session.agent.journal(state.group).secondary
            if found is None:
                return
            last.append(found)

    with suppress(KeyboardInterrupt):
        watched(follow, Journals(session, state.group, f"{state.group} to journal {to}"), left)
    return last[-1]


def _show(session: Session, state: JournalState) -> None:
    def line() -> str:
        reached = {name: position.sequence for name, position in state.pointers.items() if position.sequence}
        pointers = ", ".join(f"{name.replace('_', '-')} {count(sequence)}" for name, sequence in reached.items())
        acquisition = f"acquisition {'on' if state.acquisition else 'off'}; " if state.role == "primary" else ""
        return f"{state.group} ({state.role}): {acquisition}{pointers or 'no journals yet'}"

    session.show(state, line)
