"""What of a served group changes while hosts write: where its journal lies, how long its volumes are.

Owns the part of such a change that only the process with the open journal can
do. Each happens behind a closed gate, is given again when it was cut short,
and ends with one step that a restart of the server sees or does not see. The
controller prepares and settles it (controller/LIFECYCLE.md).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from controller import durable
from controller.errors import CapacityError, ConflictError, NotFoundError, PairvolError, StorageError
from controller.journal.access import volume_size_bytes
from controller.journal.pointers import Position
from controller.volume.modes import Modes
from controller.volume.refusals import BACK_HINT
from controller.volume.settings import JournalSettings

if TYPE_CHECKING:
    from controller.volume.journaled import JournaledPath


class Changes(Modes):
    """Modes, and the changes that go on under them. Any thread may call anything."""

    def move_journal(self, settings: JournalSettings, laid_out: str, carried: Position) -> Position:
        """Go on with the journal volume at `laid_out`, which then has the name of the one in use.

        It holds every record still needed up to `carried`; the rest is carried
        over while the gate is closed. The rename is the switch: before it
        nothing has changed, after it the old volume is never used again.
        """
        with self._change:
            path = self._journaled
            if path is None or not self._takes(settings):
                raise ConflictError(
                    "cannot move the journal: it is not open, or another one is",
                    hint="Resume the pair, or start acquisition, first.",
                )
            self._path.check_failure()
            active = self._path is path
            path.close_gate()
            try:
                tail = path.take_checkpoint() if active else path.appender.tail
                self._carry_rest(path, settings, laid_out, carried, tail)
                os.rename(laid_out, settings.path)
            except OSError as error:
                self._reopen(path, active)
                raise StorageError(
                    f"cannot move the journal to {laid_out}: {error.strerror}",
                    hint="Look at that disk; the group goes on with the journal it has.",
                    path=laid_out,
                ) from error
            except PairvolError:
                self._reopen(path, active)
                raise
            self._go_on_with(settings, path, active)
            return tail

    @staticmethod
    def _reopen(path: JournaledPath, active: bool) -> None:
        if active:
            path.open_gate()

    def grow(self, name: str, size_bytes: int) -> None:
        """Serve a volume in its new length, to those who connect from now on; its store is that long already."""
        with self._change:
            volume = self.volumes.get(name)
            if volume is None:
                raise NotFoundError(f"no volume {name} is served here", hint='See "pairvol volume list".')
            if size_bytes < volume.size_bytes:
                raise ConflictError(
                    f"volume {name} has {volume.size_bytes} bytes and cannot shrink to {size_bytes}",
                    hint="Volumes only grow: make a smaller one and copy what is needed.",
                )
            if self._marks is not None and size_bytes > volume.size_bytes:
                raise ConflictError(
                    f"cannot grow volume {name}: changed regions are tracked in its old length",
                    hint=BACK_HINT,
                )
            if volume_size_bytes(volume.backing.file) < size_bytes:
                raise CapacityError(
                    f"the store of volume {name} is shorter than {size_bytes} bytes",
                    hint='Make the store that long first, then "pairvol volume resize" again.',
                )
            volume.backing.size_bytes = volume.size_bytes = size_bytes

    def _carry_rest(
        self, path: JournaledPath, settings: JournalSettings, laid_out: str, carried: Position, tail: Position
    ) -> None:
        from controller.journal import moving
        from controller.journal.volume import JournalVolume

        new = JournalVolume.open(laid_out, writable=True, group_uuid=settings.group_uuid)
        try:
            moving.carry(path.journal, new, carried, tail, lambda: path.destager.out)
            new.sync()
            path.pointers.persist()  # what is left out was freed, and stays so
        finally:
            new.close()

    def _go_on_with(self, settings: JournalSettings, old: JournaledPath, active: bool) -> None:
        """What follows the switch; a failure from here on is the path's, until the server starts anew."""
        from controller.volume.opening import open_journaled, open_resting

        try:
            old.halt()
            durable.sync_directory(Path(settings.path).parent)
            volumes, marks = list(self.volumes.values()), self._marks
            if active:
                head = marks.head if marks is not None else None
                new: JournaledPath | None = open_journaled(settings, volumes, False, self._on_broken, head)
            else:
                assert marks is not None
                new = open_resting(settings, volumes, marks, self._on_broken)
        except (PairvolError, OSError) as error:
            words = error.message if isinstance(error, PairvolError) else str(error.strerror)
            failure = StorageError(
                f"cannot go on with the journal that was moved to {settings.path}: {words}", hint="Look at its disk."
            )
            if active:
                old.fail(failure)
            else:
                self._journaled = None
                old.let_go()
            raise failure from error
        self._journal_settings = settings
        self._journaled = new
        if active:
            assert new is not None
            self._path = new
        old.let_go()
