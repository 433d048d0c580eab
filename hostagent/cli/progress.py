"""Whatever a command waits for: its progress on a terminal, and what Ctrl-C leaves behind.

Both go to standard error, never into data. Owns the thread that does the work
and the bar. What is shown is asked of the agent meanwhile; that it cannot be
asked is no failure of the work.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import typer

from controller.errors import PairvolError
from controller.units import format_size
from hostagent.cli.session import Session

if TYPE_CHECKING:
    from rich.progress import Progress

    from controller.api.models import JournalState

QUIET_SECONDS: Final = 2.0  # what is over by then needs no bar
LOOK_SECONDS: Final = 0.3
AGAIN: Final = "the same command again is safe"

Result = TypeVar("Result")


@dataclass(frozen=True)
class Look:
    """How far something is: bytes when it can be told, and what is being done."""

    words: str
    done: int = 0
    total: int | None = None


class Looks(Protocol):
    """How to find out how far something is."""

    @property
    def words(self) -> str:
        """What is waited for: shown until there is more to say."""

    def __call__(self) -> Look | None: ...


@dataclass(frozen=True)
class Waiting:
    """Of work that has no amount, or does not tell it: the time that it has taken is shown."""

    what: str

    @property
    def words(self) -> str:
        return f"waiting for {self.what}"

    def __call__(self) -> Look | None:
        return None


def goes_on(what: str, see: str, again: str = AGAIN) -> str:
    """What is said of an order that is left alone: the command after `pairvol` that shows it, and what comes next."""
    return f'{what} goes on; see it with "pairvol {see}"' + (f"; {again}" if again else "")


def watched(work: Callable[[], Result], look: Looks, left: str | None) -> Result:
    """The result of `work`, with progress shown while it goes on; what it raises is raised.

    Ctrl-C ends what is shown, never the work of the agent. `left` is what is
    said then: what goes on and how to see it; None where only looking ends.
    """
    try:
        return _shown(work, look)
    except KeyboardInterrupt:
        if left is not None:
            typer.echo(left, err=True)
        raise


def _shown(work: Callable[[], Result], look: Looks) -> Result:
    if not sys.stderr.isatty():
        return work()
    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            errors.append(error)

    began = time.monotonic()
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(QUIET_SECONDS)
    if thread.is_alive():
        _show(thread, look, began)
    if errors:
        raise errors[0]
    return results[0]


def _show(thread: threading.Thread, look: Looks, began: float) -> None:
    progress = display()
    task = progress.add_task(look.words, total=None)
    progress.tasks[0].start_time = began
    with progress:
        while thread.is_alive():
            found = None
            with suppress(PairvolError):
                found = look()
            if found is not None:
                progress.update(task, description=found.words, completed=found.done, total=found.total)
            thread.join(LOOK_SECONDS)


def display() -> Progress:
    """What is done, and for how long; amount, rate and time left while there is an amount."""
    from rich.console import Console, RenderableType
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        ProgressColumn,
        SpinnerColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    class OfAmounts(ProgressColumn):
        def __init__(self, column: ProgressColumn) -> None:
            super().__init__()
            self._column = column

        def render(self, task: Task) -> RenderableType:
            return self._column(task) if task.total is not None else ""

    class Rate(ProgressColumn):
        def render(self, task: Task) -> RenderableType:
            return f"{format_size(int(task.speed))}/s" if task.speed else ""

    left = (TimeRemainingColumn(), TextColumn("left"))
    amounts = (BarColumn(), DownloadColumn(binary_units=True), Rate(), *left)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), *map(OfAmounts, amounts), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True, get_time=time.monotonic)


class Journals:
    """Looks at both journals of a pair: what is copied, restored, or on its way to a sequence."""

    def __init__(self, session: Session, group: str, words: str) -> None:
        self._session, self._group, self.words = session, group, words
        self._began: int | None = None

    def __call__(self) -> Look | None:
        """Bytes of journals that are restored since the first look, of those that were written."""
        sides = self._session.agent.journal(self._group)
        primary, secondary = sides.primary, sides.secondary
        if secondary is None:
            return Look(f"{self.words} (the secondary does not answer)")
        copy = secondary.initial_copy
        if copy.state == "running":
            return Look(f"{self.words}: copying", copy.bytes_done, copy.bytes_total or None)
        restored = _bytes(secondary, "already_restored")
        if self._began is None:
            self._began = restored
        newest = max(_bytes(primary, "journal_in") if primary is not None else 0, _bytes(secondary, "already_read"))
        left = max(0, newest - restored)
        words = self.words if left == 0 else f"{self.words}: {format_size(left)} to restore"
        done = restored - self._began
        return Look(words, done, done + left if left else None)


def _bytes(state: JournalState, pointer: str) -> int:
    position = state.pointers.get(pointer)
    return 512 * position.data_position if position is not None else 0
