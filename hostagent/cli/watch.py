"""`pairvol pair status --watch`: the answer again and again, until Ctrl-C.

Owns the display, and the exit code at its end: that of the last answer. An
agent that does not answer is waited for; what is shown meanwhile says so.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress

import typer

from controller.errors import PairvolError
from hostagent.api.models import PairStatus
from hostagent.cli.pair_view import status_text
from hostagent.cli.session import Session, plain

WATCH_SECONDS = 0.5
CODES = ("OK", "WARN", "CRIT")

Ask = Callable[[], list[PairStatus]]
Show = Callable[[list[PairStatus] | PairvolError], None]


def watch_statuses(session: Session, ask: Ask) -> int:
    """Show until Ctrl-C; the exit code of the last answer."""
    if session.json:
        return _until_interrupted(ask, _print_json)
    if not sys.stdout.isatty():
        return _until_interrupted(ask, _Changes())
    from rich.live import Live
    from rich.text import Text

    with Live(auto_refresh=False) as live:

        def update(answer: list[PairStatus] | PairvolError) -> None:
            live.update(Text.from_ansi(_text(answer), no_wrap=True, overflow="ellipsis"), refresh=True)

        return _until_interrupted(ask, update)


def exit_code(statuses: list[PairStatus]) -> int:
    """The worst verdict, as monitoring takes it; where there is no pair nothing is protected."""
    return max((CODES.index(each.verdict) for each in statuses), default=CODES.index("WARN"))


def _until_interrupted(ask: Ask, show: Show) -> int:
    code = 0
    with suppress(KeyboardInterrupt):
        while True:
            answer: list[PairStatus] | PairvolError
            try:
                answer = ask()
                code = exit_code(answer)
            except PairvolError as error:  # the agent may come back, the pair may be in the making
                answer, code = error, error.exit_code
            show(answer)
            time.sleep(WATCH_SECONDS)
    return code


class _Changes:
    """Where nothing can be drawn over: what is new since the last look, errors where errors go."""

    def __init__(self) -> None:
        self._shown = ""

    def __call__(self, answer: list[PairStatus] | PairvolError) -> None:
        text = _text(answer)
        if text != self._shown:
            typer.echo(text, err=isinstance(answer, PairvolError))
        self._shown = text


def _print_json(answer: list[PairStatus] | PairvolError) -> None:
    """One object a line and look."""
    if isinstance(answer, PairvolError):
        typer.echo(_text(answer), err=True)
        return
    for status in answer:
        typer.echo(json.dumps(plain(status)))


def _text(answer: list[PairStatus] | PairvolError) -> str:
    if isinstance(answer, PairvolError):
        return f"pairvol: {answer.message}" + (f"\nHINT: {answer.hint}" if answer.hint else "")
    return status_text(answer)
