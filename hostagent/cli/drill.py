"""`pairvol drill`: rehearse on writable images of the secondary volumes while replication runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from controller.errors import UsageError
from controller.units import parse_duration
from hostagent.cli.output import NONE, clock, clock_tenths, coloured, count, table, unknown
from hostagent.cli.progress import Journals, Waiting, goes_on, watched
from hostagent.cli.session import Session, noun, validated, verb

if TYPE_CHECKING:
    from hostagent.api.drills import DrillLedger, DrillOrder, DrillReport

app = noun("drill", "Drills: writable images of the secondary volumes at one moment, replication running on.")

CHECK_FAILED: Final = 2

GroupArgument = Annotated[str, typer.Argument(metavar="GROUP", help="The pair's group.")]


@verb(app, "start")
def start(
    session: Session,
    group: GroupArgument,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="MOMENT", help="A marker's name, a journal's sequence, or a time; it is ahead."),
    ] = None,
    marker: Annotated[
        str | None, typer.Option("--marker", metavar="NAME", help="Put this marker now; the drill is exactly there.")
    ] = None,
    freeze: Annotated[
        bool, typer.Option("--freeze", help="With --marker: while the file systems stand still.")
    ] = False,
    wait: Annotated[
        str, typer.Option("--wait", metavar="TIME", help="For that moment to be restored, as 60 or 5m.")
    ] = "60",
    check: Annotated[
        str | None,
        typer.Option("--check", metavar="CMD", help='Run at the secondary, such as "fsck.ext4 -fp {device}".'),
    ] = None,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="TIME", help="After which the check is ended, as 600 or 1h.")
    ] = "1h",
) -> None:
    """Open images as they are now, or at a moment ahead.

    --check runs a command on them and stamps the result. Exit code 2: it failed.
    """
    from hostagent.api.drills import DrillOrder

    if at is not None and marker is not None:
        raise UsageError("--at and --marker exclude each other", hint="--marker puts the moment, --at waits for one.")
    if freeze and marker is None:
        raise UsageError("--freeze needs --marker", hint="Name the marker that is put meanwhile.")
    order = validated(
        DrillOrder,
        at=at,
        marker=marker,
        freeze=freeze,
        wait_seconds=parse_duration(wait),
        check=check,
        check_seconds=parse_duration(timeout),
    )
    look = Journals(session, group, start_words(group, order))
    left = goes_on(
        "the drill", f"drill list {group}", f'it ends by itself in a while, or by "pairvol drill stop {group}"'
    )
    drill = watched(lambda: session.agent.start_drill(group, order), look, left)
    session.show(drill, lambda: drill_text(drill))
    if drill.check is not None and not drill.check.passed:
        raise typer.Exit(CHECK_FAILED)


@verb(app, "stop")
def stop(
    session: Session,
    group: GroupArgument,
    number: Annotated[int | None, typer.Argument(metavar="[ID]", min=1, help="All of the group otherwise.")] = None,
) -> None:
    """Drop the images and what was written to them; restore catches up when the last one is gone."""
    which = f"drill {number}" if number is not None else "the drills"
    look = Waiting(f"the end of {which} of {group}")
    left = goes_on(f"the end of {which}", f"drill list {group}")
    drills = watched(lambda: session.agent.stop_drill(group, number), look, left)
    session.show(drills, lambda: "\n".join(f"drill {each.number} {each.state}" for each in drills) or "no open drill")


@verb(app, "list")
def list_(
    session: Session, group: Annotated[str | None, typer.Argument(metavar="[GROUP]", help="All otherwise.")] = None
) -> None:
    """List drills with achieved RPO (lag at the start) and time to ready."""
    ledger = session.agent.drills(group)
    session.show(ledger, lambda: drill_table(ledger))


def start_words(group: str, order: DrillOrder) -> str:
    """What may take its time: the moment, which is waited for, and the check."""
    moment = f"marker {order.marker}" if order.marker is not None else order.at
    words = f"drill of {group}"
    if moment is not None:
        words += f" at {moment} (waits {order.wait_seconds:g} s at most)"
    return words if order.check is None else f"{words}, and its check"


def drill_text(drill: DrillReport) -> str:
    """What was opened, where, and what the check said."""
    ready = f" after {drill.ready_seconds:.2f} s" if drill.ready_seconds is not None else ""
    lag = f", lag at the start {drill.lag_seconds:.1f} s" if drill.lag_seconds is not None else ""
    lines = [
        f"drill {drill.number} of {drill.group} open{ready}: sequence {count(drill.sequence)}, "
        f"{clock_tenths(drill.sequence_time_ns)}{lag}"
    ]
    lines += [f"{volume}: {device}" for volume, device in drill.devices.items()]
    if drill.check is not None:
        lines += drill.check.output.rstrip().splitlines()
        lines.append(f"check {check_words(drill)} in {drill.check.seconds:.1f} s: {drill.check.command}")
    lines.append(f'restore waits; end it with "pairvol drill stop {drill.group} {drill.number}"')
    return "\n".join(lines)


def check_words(drill: DrillReport) -> str:
    """`OK`, `FAILED (1)`, or nothing when none was run."""
    if drill.check is None:
        return NONE
    code = drill.check.exit_code
    if drill.check.passed:
        return coloured("OK") + (" (mended)" if code else "")
    return f"{coloured('FAILED')} ({'timed out' if code is None else code})"


def drill_table(ledger: DrillLedger) -> str:
    """One line a drill, and one for each site that did not answer."""
    rows = [
        (
            str(drill.number),
            drill.group,
            drill.site,
            clock(drill.started_ns),
            str(drill.state),
            count(drill.sequence),
            NONE if drill.lag_seconds is None else f"{drill.lag_seconds:.1f} s",
            NONE if drill.ready_seconds is None else f"{drill.ready_seconds:.2f} s",
            check_words(drill),
            ", ".join(drill.devices.values()) or drill.reason or NONE,
        )
        for drill in ledger.drills
    ]
    head = ("ID", "GROUP", "SITE", "STARTED", "STATE", "SEQ", "RPO", "READY", "CHECK", "DEVICES")
    text = table(head, rows, right=("ID", "SEQ", "RPO", "READY")) if rows else "no drills"
    text = "\n".join([text, *(_open_words(drill) for drill in ledger.drills if drill.state in ("starting", "open"))])
    return "\n".join([text, *(f"{site} {unknown(ledger.unknown_since_ns.get(site))}" for site in ledger.silent)])


def _open_words(drill: DrillReport) -> str:
    """What an open drill does, and how it ends."""
    unconfirmed = ", which nobody has confirmed and which ends by itself" if drill.lease_seconds is not None else ""
    stop = f"pairvol drill stop {drill.group} {drill.number}"
    return f'restore of {drill.group} waits for drill {drill.number}{unconfirmed}; end it with "{stop}"'
