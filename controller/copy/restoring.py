"""The thread that restores: how far it may go, and when it pauses to sync.

Owns the limit (at once: all that is read; later: what a request named) and
the pace of SVOL syncs. Under load several batches share a sync, at most
0.1 s apart; when nothing more is waiting it syncs as soon as the last sync's
pause is over.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from controller.copy.loop import Loop, OnEvent
from controller.errors import PairvolError
from controller.journal.pointers import Pointer, PointerPage
from controller.restore.program import RestoreProgram
from controller.restore.space import JournalSpace

PERSIST_SECONDS: Final = 1.0  # how much a power cut may make restore do again


class Restoring(Loop):
    """Runs a RestoreProgram. `on_restored` is called after already_restored moved."""

    def __init__(
        self,
        program: RestoreProgram,
        pointers: PointerPage,
        space: JournalSpace,
        on_restored: Callable[[], None],
        on_event: OnEvent,
    ) -> None:
        super().__init__("restore", on_event)
        self.program = program
        self._pointers = pointers
        self._space = space
        self._on_restored = on_restored
        self._at_once = False
        self._limit = program.restored.sequence
        self._persisted_at = time.monotonic()

    def follow(self, at_once: bool) -> None:
        """Restore whatever is read from now on, or only what is asked for."""
        with self.changed:
            if at_once != self._at_once:
                self._at_once = at_once
                self.order()

    def restore(self, to_sequence: int | None) -> None:
        """A restore request: up to this sequence, as far as it is read; None: all that is read now."""
        read = self._pointers.read(Pointer.ALREADY_READ).sequence
        with self.changed:
            self._limit = max(self._limit, read if to_sequence is None else to_sequence)
            self.order(explicit=True)

    def turn(self) -> float | None:
        read = self._pointers.read(Pointer.ALREADY_READ).sequence
        with self.changed:
            limit = read if self._at_once else min(read, self._limit)
        program = self.program
        stepped = program.step(limit)
        if program.pending and program.sync_due_seconds() <= 0:
            program.settle()
            self._on_restored()
        if stepped:
            self._persist_at_times()
            return 0.0
        if program.pending:
            return program.sync_due_seconds()
        rests = [self._persist_at_times(), program.end_seconds()]
        return min((rest for rest in rests if rest is not None), default=None)

    def _persist_at_times(self) -> float | None:
        """Bound what a power cut makes us restore again; None when all of it is on the disk."""
        now = time.monotonic()
        if now - self._persisted_at < PERSIST_SECONDS:
            return PERSIST_SECONDS if self._space.reclaimable else None
        self._space.reclaim()
        self._persisted_at = now
        return None

    def restart(self) -> None:
        self.program.reset()

    def finished(self) -> None:
        """Leave nothing for the next start to do again; what the disk refuses now it will refuse then, by name."""
        with suppress(PairvolError):
            self.program.settle()
