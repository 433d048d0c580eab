"""Shows the rows as a table and keeps them in build/bench.json."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench import profile
from tests.bench.rows import Figure, Row


def figure_text(figure: Figure) -> str:
    return f"{_short(figure.median)} ({_short(figure.low)}..{_short(figure.high)})"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def table(rows: Sequence[Row], place: str) -> Table:
    title = f"pairvol / peer: medians of alternating rounds (lowest..highest)\n{place}"
    shown = Table(title=title, title_justify="left")
    for name, justify in (("row", "left"), ("work", "left"), ("pairvol", "left"), ("peer", "left")):
        shown.add_column(name, justify=justify)  # type: ignore[arg-type]
    for name in ("unit", "ours", "theirs", "ratio", "goal", "met"):
        shown.add_column(name, justify="right")
    for row in rows:
        sign = "<=" if row.sense == "at most" else ">="
        goal = "" if row.goal is None else f"{sign} {row.goal:.2f}"
        met = {None: "", True: "[green]yes[/]", False: "[red]no[/]"}[row.met]
        ours, theirs = figure_text(row.ours), figure_text(row.theirs)
        shown.add_row(
            row.row, row.work, row.subject, row.peer, row.unit, ours, theirs, f"[bold]{row.ratio:.2f}[/]", goal, met
        )
    return shown


def write(rows: Sequence[Row], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([row.as_json() for row in rows], indent=2) + "\n")


def show(rows: Sequence[Row], place: str, console: Console) -> None:
    console.print(table(rows, place))
    goals = [row for row in rows if row.met is not None]
    for line in dict.fromkeys(profile.line(row) for row in rows if row.profile):
        console.print(line)
    console.print(f"{sum(bool(row.met) for row in goals)} of {len(goals)} goals met")
