"""`pair verify`: begun, shown while it goes on, and one line at its end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from controller.errors import IntegrityError, PairvolError, PeerError, UsageError
from controller.units import format_size
from hostagent.cli.pair import app
from hostagent.cli.pair_options import GroupArgument
from hostagent.cli.progress import Look, Waiting, goes_on, watched
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
    it again, and --cancel ends it. While restore is on command, or a drill holds it, the command to
    give next is printed in place of the result. Exit code 0 identical, 40 when regions differ, 1 when
    it could not be brought to its end.
    """
    if sum((repair, status, cancel)) > 1:
        raise UsageError("--repair, --status and --cancel exclude each other", hint="Give one of them.")
    if cancel:
        end = Waiting(f"the end of the verify of {group}")
        left = goes_on("the end of the verify", f"pair verify {group} --status")
        ended = watched(lambda: session.agent.verify_pair(group, cancel=True), end, left)
        session.show(ended, lambda: text(ended))
        return
    if status:
        report = session.agent.verify_report(group)
    else:
        look = Comparison(session, group)
        left = f'the verify goes on; "pairvol pair verify {group}" shows it, --cancel ends it'
        report = watched(lambda: look.follow(session.agent.verify_pair(group, repair=repair)), look, left)
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


class Comparison:
    """Follows a verify to its end, and tells how far it is: bytes of the step under way."""

    def __init__(self, session: Session, group: str) -> None:
        self._session, self.words = session, f"verify of {group}"
        self._newest: VerifyReport | None = None  # told to a second thread, the one that shows it

    def __call__(self) -> Look | None:
        report = self._newest
        if report is None:
            return None
        words = report.line
        if report.different_bytes:
            words += f", {format_size(report.different_bytes)} different"
        if report.waits:
            words += f" ({report.waits})"
        return Look(words, report.bytes_done, report.bytes_total or None)

    def follow(self, report: VerifyReport) -> VerifyReport:
        """The report when it has come to an end, or cannot be told any more."""
        task, answered = report.task, time.monotonic()
        while report.phase in ("running", "unknown"):
            self._newest = report
            time.sleep(POLL_SECONDS)
            try:
                report = self._session.agent.verify_report(report.group)
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
        return report
