"""The modes of one volume server, and the changes between them.

Owns which path (direct or journaled) host requests take now. The transitions
are those of controller/LIFECYCLE.md:

| from | event | to |
|---|---|---|
| direct | start | journal |
| journal, suspended | stop | direct |
| journal | journal full, suspend | suspended, cause full or operator |
| journal | the journal's disk refused (policy `suspend`) | suspended, cause error |
| suspended | resume | journal, the dirty map standing still |
| journal | clear the epoch | journal, no dirty map |

A change of mode: close the gate of the old path, bring what it holds to the
backing stores, make the new mode durable, put the new path in place. Requests
that met the closed gate wait for the change and are given to the new path. A
request that still holds the old path when the new one is in place was issued
before the change ended, so a read of the store that it does is concurrent
with every write on the new path, and a flush finds all it speaks of synced.

What reads and writes journals is imported where the first journal is opened:
volumes that are served without one, such as those just taken over, are served
in half the time.
"""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from controller.api.words import AcquisitionMode, SuspendedCause
from controller.errors import CapacityError, ConflictError, PairvolError
from controller.journal.pointers import Position
from controller.units import counted
from controller.volume import dirty
from controller.volume.direct import DirectPath
from controller.volume.dirty import DirtyMap
from controller.volume.dirty_file import MapState
from controller.volume.host_path import HostPath, Refusal
from controller.volume.refusals import BACK_HINT, START_HINT, no_journal
from controller.volume.settings import JournalSettings, ServerSettings
from controller.volume.suspending import Suspending

if TYPE_CHECKING:
    from controller.volume.journaled import JournaledPath

RESUME_WAIT_SECONDS: Final = 2.0  # for space that was just confirmed to be freed
RESUME_USED_MAX: Final = 0.5  # of the journal: one fuller than this would soon be full again


class Modes(Suspending):
    """The path that takes host requests, and its changes. Any thread may call anything."""

    def open_paths(self, settings: ServerSettings) -> None:
        """Take up what was in force before, recovering the journal if there is one; called once, before requests."""
        journal, tracking = settings.journal, settings.tracking
        if tracking is not None:
            self._marks = DirtyMap.take_up(tracking.dirty_map, tracking.group_uuid)
            self._path = DirectPath(self._marks)
        elif journal is not None:
            try:
                self._open_journal(journal)
            except BaseException:
                for held in (self._journaled, self._marks):
                    if held is not None:
                        held.close()
                raise

    def _open_journal(self, settings: JournalSettings) -> None:
        from controller.volume.opening import finish_draining, open_journaled, open_resting

        volumes = list(self.volumes.values())
        self._journal_settings = settings
        if dirty.exists(settings.dirty_map):
            self._marks = DirtyMap.take_up(settings.dirty_map, settings.group_uuid)
            if self._marks.head.state is MapState.DRAINING:
                finish_draining(settings, volumes, self._marks)
        marks = self._marks
        if marks is not None and marks.head.state is MapState.SUSPENDED:
            self._path = DirectPath(marks)
            if settings.acquire:
                self._journaled = open_resting(settings, volumes, marks, self._on_broken)
        else:
            head = marks.head if marks is not None else None
            journaled = open_journaled(settings, volumes, True, self._on_broken, head)
            self._path = self._journaled = journaled
            if head is not None and journaled.appender.sequence == head.position.sequence:
                self._mark_resumed(journaled, head)  # a crash came between the map and this
        if not settings.acquire:
            self.stop()

    @property
    def mode(self) -> AcquisitionMode:
        """What becomes of host writes now."""
        path = self._path
        return path.mode if path.failure is None else AcquisitionMode.FAILED

    def start(self, settings: JournalSettings) -> Position:
        """Acquisition on: direct writes end, the stores are synced, from then on journal first."""
        from controller.volume.opening import open_journaled

        with self._change:
            old = self._path
            if self._journaled is not None:
                if old is self._journaled and self._takes(settings):
                    return self._journaled.appender.tail
                raise ConflictError(
                    f"cannot start acquisition: it is {self.mode}, with journal {self._journaled.journal.path}",
                    hint='Stop it first: "pairvol journal stop {group}".',
                )
            if dirty.exists(settings.dirty_map):
                raise ConflictError(
                    f"cannot start acquisition: the group is suspended, see {settings.dirty_map}",
                    hint=BACK_HINT,
                )
            old.check_failure()
            old.close_gate()
            try:
                new = open_journaled(settings, list(self.volumes.values()), False, self._on_broken)
            except BaseException:
                old.open_gate()
                raise
            self._journaled, self._journal_settings, self._path = new, settings, new
            return new.appender.tail

    def stop(self) -> None:
        """Acquisition off: everything journaled goes to the stores, then writes are direct and untracked."""
        with self._change:
            old, journaled, marks = self._path, self._journaled, self._marks
            if journaled is None and marks is None:
                return
            old.check_failure()
            old.close_gate()
            try:
                if journaled is not None and old is journaled:
                    journaled.take_checkpoint()
                if marks is not None:
                    marks.remove()
            except BaseException:
                old.open_gate()
                raise
            self._journaled = self._journal_settings = self._marks = None
            self._path = DirectPath()
            if journaled is not None:
                journaled.close()

    def suspend(self, cause: SuspendedCause) -> None:
        """Give up journaling by order: writes go on, tracked by region. Done twice it is done."""
        with self._change:
            self._path.check_failure()
            journaling = self._journaling
            if journaling is not None:
                self._suspend(journaling, cause)
            elif self._marks is None:
                raise no_journal("cannot suspend", self.mode)
            elif cause is SuspendedCause.OPERATOR and self._marks.head.cause is SuspendedCause.FULL:
                self._marks.change(replace(self._marks.head, cause=cause))

    def resume(self, settings: JournalSettings) -> Position:
        """Journal first again, the changed regions standing still as the set of a differential copy."""
        from controller.volume.opening import open_journaled

        with self._change:
            path, marks, journaling = self._path, self._marks, self._journaling
            if journaling is not None:
                if self._takes(settings):
                    return journaling.appender.tail
                raise ConflictError(
                    f"cannot resume: the journal in use is {journaling.journal.path}",
                    hint='Give the command again; "pairvol journal status {group}" says which journal is in use.',
                )
            if marks is None:
                raise ConflictError("cannot resume: the group is not suspended", hint=START_HINT)
            path.check_failure()
            path.close_gate()
            journaled = self._journaled
            try:
                if journaled is not None and not self._takes(settings):
                    journaled.close()
                    self._journaled = journaled = None
                if journaled is None:
                    volumes = list(self.volumes.values())
                    journaled = open_journaled(settings, volumes, False, self._on_broken, marks.head)
                    journaled.close_gate()
                    self._journaled = journaled
                self._journal_settings = settings
                _check_room(journaled)
                for volume in self.volumes.values():
                    path.flush(volume)  # what a flush on the journaled path will not speak of
                marks.change(replace(marks.head, state=MapState.RESYNC, note=""))
            except BaseException:
                path.open_gate()
                raise
            self._path = journaled
            self._mark_resumed(journaled, marks.head)
            journaled.open_gate()
            return journaled.appender.tail

    def clear_epoch(self, epoch: str) -> None:
        """The changed regions of this epoch are at the other site; no other set is ever cleared."""
        with self._change:
            marks = self._marks
            if marks is None:
                return
            if marks.head.state is not MapState.RESYNC or marks.head.epoch != epoch:
                raise ConflictError(
                    f"cannot clear changed regions of epoch {epoch}: the set here is {marks.head.epoch},"
                    f" {marks.head.state.name.lower()}",
                    hint="More has changed since; copy the changed regions again.",
                )
            marks.remove()
            self._marks = None

    # within, `_change` held

    def _next_path(self, old: HostPath, refused: Refusal) -> HostPath:
        """The path to try next after `old` refused: waits for the change that is under way, or makes it."""
        with self._change:
            journaling = self._journaling
            if journaling is not None and journaling is old and journaling.failure is None:
                if refused is Refusal.FULL:
                    self._suspend(journaling, SuspendedCause.FULL)
                elif refused is Refusal.BROKEN:
                    self._give_up_journal(journaling)
            return self._path

    @property
    def _journaling(self) -> JournaledPath | None:
        """The path that takes requests now, when that is the journal's."""
        path, journaled = self._path, self._journaled
        return journaled if journaled is path else None

    def _takes(self, settings: JournalSettings) -> bool:
        """True when these settings name the journal that is in use, in its generation."""
        present = self._journal_settings
        if present is None or present.generation != settings.generation:
            return False
        return os.path.realpath(present.path) == os.path.realpath(settings.path)

    def _on_broken(self, path: JournaledPath) -> None:
        """Suspend soon, also when no request comes: the journal's thread that noticed must not wait for itself."""

        def act() -> None:
            try:
                self._next_path(path, Refusal.BROKEN)
            except PairvolError:
                pass  # it is the path's failure now, and told to whoever asks

        threading.Thread(target=act, name="suspend", daemon=True).start()


def _check_room(path: JournaledPath) -> None:
    if not path.wait_freed(RESUME_USED_MAX, RESUME_WAIT_SECONDS):
        used = path.appender.sequence - path.destager.out.sequence
        raise CapacityError(
            f"cannot resume: the journal still holds {counted(used, 'journal')} that the other site has not confirmed",
            hint="Let them be copied first.",
            journals=used,
        )
