"""What the demonstration tells while it runs, as an interface; the silent form is for `--json`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol


@dataclass
class Step:
    """A step at work; `detail` is shown when it is done."""

    title: str
    detail: str = ""


@dataclass(frozen=True)
class Progress:
    """Bytes of the tree, the initial copy, and the lag as the agent tells it now."""

    done_bytes: int
    total_bytes: int
    copy_percent: float | None = None
    lag_seconds: float | None = None
    lag_bytes: int | None = None


class Reporter(Protocol):
    """Where steps and progress go."""

    def step(self, title: str) -> AbstractContextManager[Step]: ...

    def progress(self, progress: Progress) -> None: ...

    def note(self, text: str) -> None: ...


class Silent:
    """Tells nothing."""

    def step(self, title: str) -> AbstractContextManager[Step]:
        return nullcontext(Step(title))

    def progress(self, progress: Progress) -> None:
        pass

    def note(self, text: str) -> None:
        pass
