"""`pairvol pair`: create pairs, and see how they are doing. What gives a side up is in giving_up.py."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from controller.errors import UsageError
from controller.units import parse_duration, parse_size, parse_time
from hostagent.cli import pair_options as options
from hostagent.cli.pair_options import GroupArgument
from hostagent.cli.progress import Journals, Waiting, goes_on, watched
from hostagent.cli.session import Session, noun, validated, verb

if TYPE_CHECKING:
    from hostagent.api.models import PairStatus

app = noun("pair", "Pairs of volumes at two sites.")


@verb(app, "create")
def create(
    session: Session,
    group: GroupArgument,
    primary: options.PrimaryOption,
    secondary: options.SecondaryOption,
    journal_size: options.SizeOption = None,
    journal: options.JournalOption = None,
    secondary_journal_size: options.SizeOption = None,
    secondary_journal: options.SecondaryJournalOption = None,
    initial_copy: options.InitialCopyOption = "direct",
    mode: options.ModeOption = "pull",
    copy: options.CopyOption = "notification",
    every: options.EveryOption = "60s",
    fill: options.FillOption = 50.0,
    restore: options.RestoreOption = "at-once",
    purge: options.PurgeOption = "at-once",
    resync: options.ResyncOption = "auto",
    on_full: options.OnFullOption = "suspend",
    limit: options.LimitOption = None,
    compress: options.CompressOption = None,
    journal_visible: options.VisibleOption = False,
) -> None:
    """Pair volumes, and copy what they hold now.

    On a terminal the progress of the initial copy is shown; Ctrl-C leaves the
    display and the copy goes on. Otherwise the command returns at once, and
    "pairvol pair wait GROUP --state PAIR" waits.
    """
    from hostagent.api.models import PairCreate
    from hostagent.cli.live import show_copy

    if mode != "pull":
        raise typer.BadParameter(f"{mode!r} is not there; journals are pulled by the secondary", param_hint="--mode")
    order = validated(
        PairCreate,
        group=group,
        primary=options.site_volumes(primary, "--primary"),
        secondary=options.site_volumes(secondary, "--secondary"),
        journal_bytes=parse_size(journal_size) if journal_size else None,
        journal_volumes=options.volume_names(journal),
        secondary_journal_bytes=parse_size(secondary_journal_size) if secondary_journal_size else None,
        secondary_journal_volumes=options.volume_names(secondary_journal),
        journal_visible=journal_visible,
        initial_copy=initial_copy,
        policy={
            "trigger": copy,
            "schedule_seconds": parse_duration(every),
            "fill_percent": fill,
            "restore": restore.replace("-", "_"),
            "purge": purge.replace("-", "_"),
            "resync": resync,
            "on_full": on_full,
            "limit_bytes_per_second": options.parse_limit(limit) if limit is not None else None,
            "compression": options.parse_compression(compress or "none"),
        },
    )
    look = Waiting(f"{group} to be made, with its journals")
    left = goes_on(f"the creation of {group}", f"pair status {group}")
    status = watched(lambda: session.agent.create_pair(order), look, left)
    _show(session, [show_copy(session, status, "initial copy of")], single=True)


@verb(app, "list")
def list_(session: Session) -> None:
    """List the pairs this site takes part in."""
    from hostagent.cli.pair_view import pair_table

    pairs = session.agent.pairs()
    session.show(pairs, lambda: pair_table(pairs) if pairs else "no pairs")


@verb(app, "status")
def status(
    session: Session,
    group: Annotated[str | None, typer.Argument(metavar="GROUP", help="All pairs otherwise.")] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep showing it until Ctrl-C.")] = False,
    history: Annotated[bool, typer.Option("--history", help="Lag, states, takeovers and drills of the past.")] = False,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="With --history: from when on, such as -7d; -24h otherwise.")
    ] = None,
) -> None:
    """Say whether a pair is protected right now.

    Exit code 0 OK, 1 WARN, 2 CRIT: it works as a monitoring plug-in. The
    worst pair comes first; without any pair it is a WARN. With --history: what
    was achieved, from the ledger of the agent that is asked.
    """
    if history or since is not None:
        _history(session, group, since, watch=watch)
        return

    def ask() -> list[PairStatus]:
        return [session.agent.pair_status(group)] if group else session.agent.pair_statuses()

    from hostagent.cli.watch import exit_code, watch_statuses

    if watch:
        raise typer.Exit(watch_statuses(session, ask))
    statuses = ask()
    _show(session, statuses, single=group is not None)
    raise typer.Exit(exit_code(statuses))


@verb(app, "wait")
def wait(
    session: Session,
    group: GroupArgument,
    state: Annotated[str, typer.Option(metavar="STATE", help="SMPL, COPY, PAIR, PSUS, PFUL, PFUS, PSUE or SSWS.")],
    timeout: Annotated[str, typer.Option(metavar="TIME", help="Such as 60 or 5m; exit code 50 after it.")] = "60",
) -> None:
    """Wait until a pair is in a state. A group that is not paired is SMPL, also one that never was."""
    from hostagent.api.models import PairState
    from hostagent.cli.live import wait_for_state
    from hostagent.cli.pair_view import first_line

    if state.upper() not in set(PairState):
        raise typer.BadParameter(f"{state} is not a state", param_hint="--state")
    seconds, wanted = parse_duration(timeout), PairState(state.upper())
    look = Journals(session, group, f"waiting for {group} to be {wanted}")
    reached = watched(lambda: wait_for_state(session, group, wanted, seconds), look, None)
    if reached.sides:
        _show(session, [reached], single=True)
    else:
        session.show(reached, lambda: first_line(reached))


def _history(session: Session, group: str | None, since: str | None, *, watch: bool) -> None:
    from hostagent.cli.history_view import history_text

    if group is None or watch:
        raise typer.BadParameter("give one GROUP, and no --watch", param_hint="--history")
    begin = max(0, parse_time(since or "-24h"))
    if begin > time.time_ns():
        raise UsageError(f"{since} has not come yet", hint="Give a time that is past, such as --since -7d.")
    past = session.agent.pair_history(group, begin)
    session.show(past, lambda: history_text(past))


def _show(session: Session, statuses: list[PairStatus], *, single: bool) -> None:
    from hostagent.cli.pair_view import status_text

    session.show(statuses[0] if single else statuses, lambda: status_text(statuses))
