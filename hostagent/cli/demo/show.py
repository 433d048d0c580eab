"""The demonstration on a terminal: steps as they finish, progress with live lag, the verdict.

Owns the looks only. Without a terminal each finished step is one plain line.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from controller.units import format_duration, format_size
from hostagent.cli.demo.reporter import Progress, Step
from hostagent.cli.demo.verdict import Outcome
from hostagent.cli.output import count, counted, percent

TITLE_WIDTH: Final = 34
BAR_WIDTH: Final = 16
MEANING: Final = {
    "copied_while_written": "the initial copy ran while the volume was written to",
    "primary_dead": "no process of the primary site was left",
    "taken_over": "the secondary site serves the volume",
    "file_system_clean": "fsck found nothing to mend",
    "files_equal": "every file synced before the recovery point is there and equal",
    "records_in_order": "the records of the writer are there in order, without a gap",
    "recovery_point_kept": "no record older than the recovery point is missing",
    "tail_in_primary_journal": "what had not left the primary yet is in its journal",
    "nothing_lost": "nothing acknowledged is lost",
}


class Screen:
    """Shows steps one below the other."""

    def __init__(self, console: Console, beginning: str = "") -> None:
        """`beginning`: printed above the first step, so not when there is none."""
        self.console = console
        self._beginning = beginning
        self._live: Live | None = None
        self._title = ""
        self._progress: Progress | None = None

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Spin while the step is at work, then leave its line with what came of it."""
        if self._beginning:
            self.note(self._beginning)
            self._beginning = ""
        step = Step(title)
        started = time.monotonic()
        self._title, self._progress = title, None
        try:
            with Live(self._working(), console=self.console, transient=True, refresh_per_second=10) as self._live:
                yield step
        except BaseException:
            self.console.print(Text().append(" \N{BALLOT X} ", style="bold red").append(title))
            raise
        finally:
            self._live = None
        self.console.print(self._done(step, time.monotonic() - started))

    def progress(self, progress: Progress) -> None:
        """Show how far the current step is."""
        self._progress = progress
        if self._live is not None:
            self._live.update(self._working())

    def note(self, text: str) -> None:
        """A line between steps."""
        self.console.print(text, highlight=False, markup=False)

    def _done(self, step: Step, seconds: float) -> RenderableType:
        line = Text().append(" \N{CHECK MARK} ", style="green")
        line.append(f"{step.title:<{TITLE_WIDTH}}{format_duration(seconds):>7}  ")
        return line.append(step.detail, style="dim")

    def _working(self) -> RenderableType:
        head = Spinner("dots", Text(f" {self._title}"), style="cyan")
        if self._progress is None:
            return head
        now = self._progress
        row = Table.grid(padding=(0, 2))
        cells: list[RenderableType] = ["  "]
        if now.total_bytes:
            cells.append(ProgressBar(now.total_bytes, now.done_bytes, width=BAR_WIDTH))
            cells.append(f"{format_size(now.done_bytes)} of {format_size(now.total_bytes)}")
        if now.copy_percent is not None:
            cells.append(f"copy {percent(now.copy_percent)}")
        if now.lag_seconds is not None:
            cells.append(f"lag {format_duration(now.lag_seconds)} ({format_size(now.lag_bytes or 0)})")
        for _ in cells:
            row.add_column(no_wrap=True)
        row.add_row(*cells)
        return Group(head, row)


def verdict_text(outcome: Outcome, primary: str, secondary: str) -> Text:
    """The verdict, the checks that failed, and the figures."""
    figures = outcome.figures
    text = Text("\n")
    if outcome.passed:
        text.append("OK    ", style="bold green")
        text.append(f"nothing lost and the order kept: {secondary} took over from dead {primary}\n")
    else:
        text.append("CRIT  ", style="bold red")
        text.append("the demonstration failed\n")
    for name, held in outcome.checks.items():
        mark, style = (" \N{CHECK MARK} ", "green") if held else (" \N{BALLOT X} ", "bold red")
        text.append(mark, style=style).append(f"{MEANING.get(name, name)}\n")
    text.append("\n")
    for name, value in figure_lines(figures, primary, secondary):
        text.append(f"   {name:<19}", style="dim").append(f"{value}\n")
    return text


def figure_lines(figures: dict[str, Any], primary: str, secondary: str) -> list[tuple[str, str]]:
    """Names and values as people read them."""
    return [
        ("files compared", f"{count(figures['files'])}, {format_size(figures['bytes'])}"),
        (
            f"lag of {secondary}",
            f"mean {_milliseconds(figures['lag_seconds_mean'])}, p99 {_milliseconds(figures['lag_seconds_p99'])}",
        ),
        (
            "takeover",
            f"{_milliseconds(figures['takeover_seconds'])}; file system mounted "
            f"{format_duration(figures['serving_seconds'])} after the disaster",
        ),
        ("journals restored", count(figures["journals_restored"])),
        (
            "records",
            f"{count(figures['records_acknowledged'])} fsynced, {count(figures['records_recovered'])} "
            f"at {secondary}, {count(figures['records_in_tail'])} only in the journal of {primary}",
        ),
        (
            f"left at {primary}",
            f"{counted(figures['tail_journals'], 'journal')}, {format_size(figures['tail_bytes'])}, "
            f"the last {_milliseconds(figures['tail_seconds'])} of writing",
        ),
        ("lost", count(figures["lost"])),
        ("order violations", count(figures["order_violations"])),
    ]


def _milliseconds(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else format_duration(seconds)
