"""The thread that makes the initial copy, from its order to its end, over failures and restarts.

Owns the group's stored progress.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from controller.api.models import CopyState, InitialCopy, InitialCopyMethod, InitialCopyOrder
from controller.copy.activity import Activity
from controller.copy.initial import InitialCopyRun
from controller.copy.loop import Loop, OnEvent
from controller.copy.progress import Progress, load, store
from controller.errors import ConflictError
from controller.restore.targets import Targets


class InitialCopying(Loop):
    """Runs InitialCopyRun objects. A copy that was running when the files were closed goes on at once."""

    def __init__(self, path: str | Path, targets: Targets, on_event: OnEvent) -> None:
        super().__init__("initial_copy", on_event)
        self._path = path
        self._targets = targets
        self._stored = load(path)
        self._shown = self._stored
        self._run: InitialCopyRun | None = None
        if self._stored.state is CopyState.RUNNING:
            self.order()

    @property
    def consistent_sequence(self) -> int | None:
        """From which journal on the SVOL is a prefix of the PVOL's history; None while it is not."""
        return self._stored.consistent_sequence

    def state(self) -> InitialCopy:
        """What the journal state says about the initial copy."""
        shown, failure = self._shown, self.failure
        return InitialCopy(
            state=shown.state if failure is None else CopyState.FAILED,
            bytes_done=shown.bytes_done,
            bytes_total=self._targets.bytes_total if shown.state is not CopyState.NONE else 0,
            bytes_copied=shown.bytes_copied,
            gap_sequence=shown.order.gap_sequence if shown.order is not None else None,
            failure=failure,
        )

    def take(self, order: InitialCopyOrder) -> None:
        """An order; one for the copy that runs or is done changes nothing, save the addresses to read from."""
        with self.changed:
            if self.activity is Activity.HALTED:
                raise ConflictError("the initial copy was ended by a takeover", hint="Pair the volumes again.")
            if not self._stored.same_source(order):
                self._begin(order)
            elif self._stored.state is CopyState.RUNNING:
                if self._stored.order != order:
                    self._stored = replace(self._stored, order=order)
                    self._restart = True
                self.order(explicit=True)

    def _begin(self, order: InitialCopyOrder) -> None:
        """Durable before the first byte: from here on the SVOL is a prefix of nothing, until the copy ends."""
        progress = Progress().begin(order)
        if order.method is InitialCopyMethod.NONE:  # the user says that both volumes hold the same
            progress = progress.moved(self._targets.bytes_total, 0).complete(0)
        self._save(progress)
        self._shown = progress
        self._restart = True
        if progress.state is CopyState.RUNNING:
            self.order(explicit=True)

    def turn(self) -> float | None:
        if self._run is None:
            stored = self._stored
            assert stored.order is not None
            self._run = InitialCopyRun(stored, stored.order.source, self._targets, self._save_of_run, self.stop)
        more = self._run.step()
        with self.changed:
            if more or self._restart:
                self._shown = self._shown if self._restart else self._run.progress
                return 0.0
            self._shown = self._stored
        self.on_event(
            "info", "initial_copy.done", f"initial copy done, consistent from {self.consistent_sequence} on", {}
        )
        self.restart()
        self.done_unless(lambda: self._stored.state is CopyState.RUNNING)
        return None

    def _save_of_run(self, progress: Progress) -> None:
        with self.changed:
            if not self._restart:  # else another order has taken its place
                self._save(progress)

    def _save(self, progress: Progress) -> None:
        store(self._path, progress)
        self._stored = progress

    def restart(self) -> None:
        """The next turn begins at the stored progress."""
        self.finished()
        self._run = None

    def finished(self) -> None:
        if self._run is not None:
            self._run.close()
