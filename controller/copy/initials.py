"""The thread that makes the initial copy, from its order to its end, over failures and restarts.

Owns the group's stored progress.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from controller.api.models import CopyState, InitialCopy, InitialCopyMethod, InitialCopyOrder
from controller.copy.activity import Activity
from controller.copy.areas import CopyAreas
from controller.copy.bucket import Bucket, Lane
from controller.copy.initial import InitialCopyRun
from controller.copy.link import DataLink, LinkMaker
from controller.copy.loop import Loop, OnEvent
from controller.copy.progress import Progress, load, store
from controller.copy.resync import Resync
from controller.copy.ways import Ways
from controller.errors import ConflictError
from controller.restore.targets import Targets

PENDING_SECONDS: Final = 0.05  # between looks at how far restore is
PASSED_SECONDS: Final = 1.0  # between two times that a run's progress is made durable


class InitialCopying(Loop):
    """Runs InitialCopyRun objects. A copy that was running when the files were closed goes on at once."""

    def __init__(
        self,
        path: str | Path,
        targets: Targets,
        resync: Resync,
        on_done: Callable[[], None],
        on_event: OnEvent,
        barred: bool = False,
        bucket: Bucket | None = None,
        link_type: LinkMaker = DataLink,
        ways: Ways | None = None,
    ) -> None:
        super().__init__("initial_copy", on_event)
        self._path = path
        self._targets = targets
        self._resync = resync
        self._on_done = on_done
        self._stored = load(path)
        self._shown = self._stored
        self._run: InitialCopyRun | None = None
        self._passed_at = 0.0
        self._barred = barred
        self._bucket = bucket or Bucket()
        self._link_type = link_type
        self._ways = ways or Ways(on_event)
        if self._stored.order is not None:
            self._bucket.change(self._stored.order.limit_bytes_per_second)  # until an order says another
        resync.open(self._stored)
        if self._working:
            self.order()

    @property
    def stored(self) -> Progress:
        """What is durable."""
        return self._stored

    @property
    def consistent_sequence(self) -> int | None:
        """From which journal on the SVOL is a prefix of the PVOL's history; None while it is not."""
        return self._stored.consistent_sequence

    def state(self) -> InitialCopy:
        """What the journal state says about the copy that is under way, or was."""
        shown, failure, pending = self._shown, self.failure, self._stored.pending
        order = pending or shown.order
        state = shown.state if pending is None else CopyState.RUNNING
        total = CopyAreas(order, self._sizes).bytes_total if state is not CopyState.NONE else 0
        done = shown.bytes_done
        if shown.run is not None:
            whole = self._targets.bytes_total
            done = done + shown.run_bytes if shown.run_sequence is None else done + whole
            total += whole if shown.method is not InitialCopyMethod.BASE else 0
        done = total if state is CopyState.DONE else min(done, total)  # volumes may have grown since
        return InitialCopy(
            state=state if failure is None else CopyState.FAILED,
            bytes_done=done if pending is None else 0,
            bytes_total=total,
            bytes_copied=shown.bytes_copied if pending is None else 0,
            gap_sequence=order.gap_sequence if order is not None else None,
            method=str(order.method) if order is not None else None,
            epoch=order.regions.epoch if order is not None and order.regions is not None else None,
            pending=pending is not None,
            run=self._stored.run if self._stored.waits_for_run else None,
            failure=failure,
        )

    def bar(self, on: bool) -> None:
        """No copy begins any more, once this returns: what the volumes are is being judged for a takeover."""
        with self.changed:
            self._barred = on
        if not on:
            self.order()

    def take(self, order: InitialCopyOrder) -> None:
        """An order; one for the copy that runs or is done changes nothing, save the addresses to read from."""
        if order.method is InitialCopyMethod.DIFFERENTIAL:
            self._resync.check(order)
        with self.changed:
            if self.activity is Activity.HALTED:
                raise ConflictError("the initial copy was ended by a takeover", hint="Pair the volumes again.")
            if self._barred:
                raise ConflictError("the volumes are being taken over", hint="See what becomes of it first.")
            stored = self._stored
            if stored.same_pending(order):
                self._stored = replace(stored, pending=order)
                self.order(explicit=True)
            elif stored.same_source(order):
                self._go_on(order)
            elif order.method is InitialCopyMethod.DIFFERENTIAL:
                self._save(replace(stored, pending=order))
                self.order(explicit=True)
            else:
                begun = Progress().begin(order)
                self._begin(replace(begun, covers=stored.covers, own_epoch=self._resync.own_epoch))

    def passed(self, run: str, bytes_done: int, ended: int | None) -> None:
        """Restore is about to say that it came past so much of a run: durable when that was its end."""
        with self.changed:
            stored = self._stored
            if not stored.waits_for_run or stored.run != run:
                return
            progress = stored.passed(bytes_done, ended)
            if ended is not None or time.monotonic() - self._passed_at >= PASSED_SECONDS:
                self._save(progress)
                self._passed_at = time.monotonic()
            else:
                self._stored = progress  # of use to those who look only
            if self._run is None:
                self._shown = self._stored
            if self._stored.state is CopyState.DONE:
                self._tell_done()

    def comparable(self, sequence: int) -> bool:
        """Whether the SVOL, with everything applied up to there, is what the PVOL was then."""
        stored = self._stored
        consistent = stored.consistent_sequence
        return stored.state is CopyState.DONE and consistent is not None and sequence >= consistent

    def _tell_done(self) -> None:
        words = f"{self._stored.method} copy done, consistent from {self.consistent_sequence} on"
        self.on_event("info", "initial_copy.done", words, {})

    def _go_on(self, order: InitialCopyOrder) -> None:
        mine = self._stored.order
        assert mine is not None
        if self._working:
            if mine.limit_bytes_per_second != order.limit_bytes_per_second:
                mine = mine.model_copy(update={"limit_bytes_per_second": order.limit_bytes_per_second})
                self._save(replace(self._stored, order=mine))
            if mine.source != order.source:
                self._stored = replace(self._stored, order=mine.model_copy(update={"source": order.source}))
                self._restart = True
            self.order(explicit=True)

    def _begin(self, progress: Progress) -> None:
        """Durable before the first byte: from here on the SVOL is a prefix of nothing, until the copy ends."""
        if progress.method is InitialCopyMethod.NONE:  # the user says that both volumes hold the same
            progress = progress.moved(self._targets.bytes_total, 0).complete(0)
        self._save(progress)
        self._shown = progress
        self._restart = True
        if progress.state is CopyState.RUNNING:
            self.order(explicit=True)

    def turn(self) -> float | None:
        pending = self._stored.pending
        if pending is not None and not self._begin_pending(pending):
            return PENDING_SECONDS
        stored = self._stored
        if stored.copies:
            if self.activity is Activity.RUNNING and (pause := self._bucket.wait_seconds(Lane.COPY)):
                return pause
            if self._run is None:
                assert stored.order is not None
                source = stored.order.source
                way = self._ways.way(source.links, Lane.COPY)
                self._run = InitialCopyRun(
                    stored,
                    source,
                    self._targets,
                    self._save_of_run,
                    self.stop,
                    self._link_type,
                    self._bucket,
                    way,
                )
            traffic = self._ways.traffic[Lane.COPY]
            spared = traffic.spared
            try:
                more = self._run.step()
            finally:
                self._bucket.moves(spared - traffic.spared)
            with self.changed:
                if more or self._restart:
                    self._shown = self._shown if self._restart else self._run.progress
                    return 0.0
                self._shown = self._stored
            self.restart()
            if self._stored.state is CopyState.DONE:
                self._tell_done()
                self._on_done()
        self.done_unless(lambda: self._working)
        return None

    @property
    def _working(self) -> bool:
        return self._stored.copies or self._stored.pending is not None

    @property
    def _sizes(self) -> dict[int, int]:
        return {index: backing.size_bytes for index, backing in self._targets.backings.items()}

    def _begin_pending(self, pending: InitialCopyOrder) -> bool:
        """Whether the differential copy that was ordered has begun."""
        progress = self._resync.begin(self._stored, pending)
        if progress is None:
            return False
        with self.changed:
            if self._barred or self._stored.pending is not pending:  # another order has taken its place
                return False
            if progress.pending is not None:
                self._save(progress)  # restore catches up first
                return False
            self._begin(progress)
        self._restart = False
        self.restart()
        self.on_event("info", "initial_copy.begun", "copy of changed regions begun", {"covers": progress.covers})
        return True

    def _save_of_run(self, progress: Progress) -> None:
        with self.changed:
            if not self._restart:  # else another order has taken its place
                stored = self._stored
                kept = replace(progress, order=stored.order, pending=stored.pending)
                self._save(replace(kept, run_bytes=stored.run_bytes, run_sequence=stored.run_sequence).joined())

    def _save(self, progress: Progress) -> None:
        store(self._path, progress)
        self._stored = progress
        self._resync.open(progress)

    def restart(self) -> None:
        """The next turn begins at the stored progress."""
        self.finished()
        self._run = None

    def finished(self) -> None:
        if self._run is not None:
            self._run.close()
