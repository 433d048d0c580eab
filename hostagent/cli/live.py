"""Commands that go on for a while: waiting, the progress of an initial copy. Watching is in watch.py.

Owns polling and the live display. Ctrl-C ends the display, never the work
that is shown.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import suppress

from controller.errors import ConflictError, NotFoundError, PairvolError, PeerError
from hostagent.api.models import PairState, PairStatus, Verdict
from hostagent.cli.progress import Journals, watched
from hostagent.cli.session import Session

POLL_SECONDS = 0.2


def wait_for_state(session: Session, group: str, state: PairState, seconds: float) -> PairStatus:
    """The status once the pair is in `state`; PeerError after `seconds`, naming the state reached.

    An agent that does not answer may be restarting, and a pair may be in the making: both are waited out.
    A group that is not paired is simplex (SMPL), whether it ever was or not.
    """
    deadline = time.monotonic() + seconds
    while True:
        failure: PairvolError | None = None
        try:
            status = session.agent.pair_status(group)
            if status.state == state:
                return status
        except NotFoundError:
            if state is not PairState.SMPL:
                raise
            return simplex(group)
        except (PeerError, ConflictError) as error:
            failure = error
        if time.monotonic() >= deadline:
            if failure is not None:
                raise failure
            raise PeerError(
                f"{group} did not reach {state} within {seconds:g} s; it is {status.state}: {status.line}",
                hint=f'Look with "pairvol pair status {group}", or wait longer with --timeout.',
            )
        time.sleep(min(POLL_SECONDS, max(0.0, deadline - time.monotonic())))


def simplex(group: str) -> PairStatus:
    """The status of a group that is not paired, which no agent keeps anything about."""
    return PairStatus(
        group=group,
        verdict=Verdict.OK,
        state=PairState.SMPL,
        number=PairState.SMPL.number,
        line=f"{group} is simplex: not paired",
        generation=0,
        sides=[],
    )


def show_copy(session: Session, status: PairStatus, words: str) -> PairStatus:
    """On a terminal: show the progress of a copy until it ends, cannot be seen, or Ctrl-C. The last status."""
    if session.json or not sys.stdout.isatty():
        return status
    last = [status]

    def follow() -> None:
        last.extend(_while_copying(session, status))

    look = Journals(session, status.group, f"{words} {status.group}")
    left = f'the copy goes on; "pairvol pair wait {status.group} --state PAIR" waits for it'
    with suppress(KeyboardInterrupt):
        watched(follow, look, left)
    return last[-1]


def _while_copying(session: Session, status: PairStatus) -> Iterator[PairStatus]:
    while status.state == PairState.COPY:
        time.sleep(POLL_SECONDS)
        try:
            status = session.agent.pair_status(status.group)
        except PeerError:  # the pair is made; that it cannot be watched is no failure
            return
        yield status
