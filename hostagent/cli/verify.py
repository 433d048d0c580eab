"""`pair verify`: begun, shown while it goes on, and one line at its end."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from controller.errors import IntegrityError, PairvolError, PeerError, UsageError
from controller.units import format_duration, format_size
from hostagent.cli.pair import app
from hostagent.cli.pair_options import GroupArgument
from hostagent.cli.progress import Waiting, going_on, watched
from hostagent.cli.session import Session, verb

if TYPE_CHECKING:
    from hostagent.api.verify import VerifyReport

POLL_SECONDS: Final = 0.3
REGIONS_IN_LINE: Final = 3
UNKNOWN_SECONDS: Final = 30.0  # that a side or the agent may be away in the middle of it


@verb(app, "verify")
def verify(
    session: Session,
    group: GroupArgument,
    repair: Annotated[bool, typer.Option("--repair", help="Copy what differs, and verify that again.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Begin nothing: tell how the last one ended.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="End the one under way, wherever it is.")] = False,
) -> None:
    """Compare what both sites hold, at one sequence number, while hosts write.

    Ctrl-C leaves the display and the verify goes on; the same command shows
    it again, and --cancel ends it. Exit code 0 identical, 40 when regions differ, 1 when it could
    not be brought to its end.
    """
    if sum((repair, status, cancel)) > 1:
        raise UsageError("--repair, --status and --cancel exclude each other", hint="Give one of them.")
    if cancel:
        ended = watched(
            session, lambda: session.agent.verify_pair(group, cancel=True), Waiting(f"the end of the verify of {group}")
        )
        session.show(ended, lambda: text(ended))
        return
    begin = Waiting(f"the verify of {group} to begin")
    report = (
        session.agent.verify_report(group)
        if status
        else watched(session, lambda: session.agent.verify_pair(group, repair=repair), begin)
    )
    if not status:
        with going_on(f'the verify goes on; "pairvol pair verify {group}" shows it, --cancel ends it'):
            report = _followed(session, report)
    session.show(report, lambda: text(report))
    raise typer.Exit(exit_code(report))


def exit_code(report: VerifyReport) -> int:
    """What scripts go by."""
    if report.verdict == "CRIT":
        return IntegrityError.exit_code
    if report.phase == "unknown":
        return PeerError.exit_code
    return 0 if report.verdict == "OK" else 1


def text(report: VerifyReport) -> str:
    """The one line; then every region that differs, when it does not name them all."""
    next_ = f"; next: {report.next_command}" if report.next_command else ""
    lines = [f"{report.verdict:<5} {report.line}{next_}"]
    listed = report.different if len(report.different) > REGIONS_IN_LINE else []
    lines += [f"      {each.volume} {each.offset}+{each.length} at journal {each.sequence}" for each in listed]
    return "\n".join(lines)


def _followed(session: Session, report: VerifyReport) -> VerifyReport:
    """Watch until it has come to an end."""
    show = sys.stderr.isatty() and not session.json
    task, answered, meter = report.task, time.monotonic(), Meter()
    while report.phase in ("running", "unknown"):
        if show:
            typer.echo(f"\r\033[K{meter.line(report)}", nl=False, err=True)
        time.sleep(POLL_SECONDS)
        try:
            report = session.agent.verify_report(report.group)
        except PairvolError as error:
            if not error.retryable or time.monotonic() - answered > UNKNOWN_SECONDS:
                raise
            continue
        if report.phase != "unknown":
            answered = time.monotonic()
        elif time.monotonic() - answered > UNKNOWN_SECONDS:
            break
        if task is not None and report.task not in (None, task):
            break  # another one took its place; tell about that one
    if show:
        typer.echo("\r\033[K", nl=False, err=True)
    return report


class Meter:
    """Rate and time left of the step under way."""

    def __init__(self) -> None:
        self._step: str | None = None
        self._began: float | None = None
        self._from = 0

    def line(self, report: VerifyReport) -> str:
        now = time.monotonic()
        if self._began is None or report.step != self._step or report.bytes_done < self._from:
            self._step, self._began, self._from = report.step, now, report.bytes_done
        rate = (report.bytes_done - self._from) / (now - self._began) if now - self._began >= 1 else 0.0
        words = f"{report.line}: {format_size(report.bytes_done)} of {format_size(report.bytes_total)}"
        if rate > 0:
            left = format_duration((report.bytes_total - report.bytes_done) / rate)
            words += f", {format_size(int(rate))}/s, {left} left"
        if report.different_bytes:
            words += f", {format_size(report.different_bytes)} different"
        return words + (f" ({report.waits})" if report.waits else "")
