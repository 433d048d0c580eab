"""Text for people: numbers, times and aligned columns.

Owns the form of cells and tables. Must not know agents or commands. Colours
come from typer and vanish when the output is not a terminal.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import typer

from controller.units import plural

THIN_SPACE: Final = "\N{THIN SPACE}"
NONE: Final = "-"
VERDICT_WIDTH: Final = 6
_DAY_NS: Final = 86_400 * 1_000_000_000
_STYLE: Final = re.compile(r"\x1b\[[0-9;]*m")
_COLOURS: Final = {"OK": "green", "WARN": "yellow", "CRIT": "red", "FAILED": "red", "WARNING": "yellow"}


def count(number: int | None) -> str:
    """`411 001`, with thin spaces so that a column stays one word."""
    return NONE if number is None else f"{number:,}".replace(",", THIN_SPACE)


def counted(number: int, word: str) -> str:
    """`1 journal`, `411 001 journals`."""
    return f"{count(number)} {plural(number, word)}"


def percent(value: float | None) -> str:
    """`41 %`; never 100 before it is complete, never 0 once it has begun."""
    if value is None:
        return NONE
    if 0 < value < 1:
        return "<1 %"
    return f"{int(value)} %"


def clock(time_ns: int, now_ns: int | None = None) -> str:
    """`10:15:03Z` for a time of the last day, else with its date. Always UTC: two sites read it."""
    moment = datetime.fromtimestamp(time_ns / 1e9, UTC)
    now = time.time_ns() if now_ns is None else now_ns
    return f"{moment:%H:%M:%SZ}" if abs(now - time_ns) < _DAY_NS else f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def clock_tenths(time_ns: int, now_ns: int | None = None) -> str:
    """`10:15:03.2Z`, with its date as in `clock`; `-` for no time."""
    if not time_ns:
        return NONE
    tenth = time_ns % 1_000_000_000 // 100_000_000
    return f"{clock(time_ns, now_ns).removesuffix('Z')}.{tenth}Z"


def unknown(since_ns: int | None) -> str:
    """`unknown since 10:15:03Z`: what is said of a side that does not answer; `unknown` when it never did."""
    return f"unknown since {clock(since_ns)}" if since_ns else "unknown"


def verdict(word: str, line: str) -> str:
    """`OK    db is protected ...`, the word in its colour."""
    return coloured(word) + " " * (VERDICT_WIDTH - len(word)) + line


def coloured(word: str) -> str:
    """The word in the colour of its meaning."""
    return typer.style(word, fg=_COLOURS[word], bold=True) if word in _COLOURS else word


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> str:
    """Aligned columns, two spaces apart; columns named in `right` are set to the right."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(width(line[column]) for line in lines) for column in range(len(head))]
    text = []
    for line in lines:
        cells = []
        for title, cell, room in zip(head, line, widths, strict=True):
            padding = " " * (room - width(cell))
            cells.append(padding + cell if title in right else cell + padding)
        text.append("  ".join(cells).rstrip())
    text[0] = typer.style(text[0], dim=True)
    return "\n".join(text)


def width(cell: str) -> int:
    """Columns on the screen."""
    return len(unstyled(cell))


def unstyled(text: str) -> str:
    """Without colours."""
    return _STYLE.sub("", text)
