"""The write path of one volume server: checks requests and gives them to the path that takes them now.

Owns the state as others see it. Which path takes
requests, and the changes of that, are controller/volume/modes.py; how writes
are stored is the paths' own business.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from controller import durable
from controller.api.words import SuspendedCause
from controller.errors import NotFoundError, StorageError, UsageError
from controller.journal.kinds import Flag
from controller.journal.pointers import Position
from controller.journal.sizes import BLOCK_BYTES
from controller.volume.direct import DirectPath
from controller.volume.dirty_file import MapState
from controller.volume.host_path import Extent, HostPath, Refusal, ServedVolume
from controller.volume.membership import Membership
from controller.volume.refusals import GROUP, no_journal
from controller.volume.requests import REQUEST_BYTES_MAX, check_change, refuse_read
from controller.volume.settings import JournalSettings, ServerSettings
from controller.volume.stores import open_volumes

if TYPE_CHECKING:
    from controller.api.runs import RunOrder, RunState
    from controller.inband.runs import Runs

BLOCK_MASK: Final = BLOCK_BYTES - 1


class WritePath(Membership):
    """Serves all volumes of one group. Any thread may call anything."""

    def __init__(self, volumes: Sequence[ServedVolume], path: HostPath) -> None:
        super().__init__(volumes, path)
        self._runs: Runs | None = None
        self._opening = threading.Lock()

    @classmethod
    def open(cls, settings: ServerSettings) -> WritePath:
        """Open everything, recover the journal if there is one, and be ready for requests."""
        volumes = open_volumes(settings.volumes)
        try:
            self = cls(volumes, DirectPath())
            self.open_paths(settings)
            if settings.journal is not None:
                self._go_on_with_run(settings.journal)
            return self
        except BaseException:
            for volume in volumes:
                volume.backing.close()
            raise

    # host requests: offsets and counts in bytes

    def read(self, volume: ServedVolume, buffer: memoryview, offset: int) -> None:
        """Fill the buffer."""
        count = len(buffer)
        if (offset | count) & BLOCK_MASK or not 0 < count <= REQUEST_BYTES_MAX or offset + count > volume.size_bytes:
            refuse_read(volume, offset, count)
        self._path.read(volume, buffer, offset)

    def write(self, volume: ServedVolume, data: memoryview, offset: int, fua: bool = False) -> None:
        """Write; acknowledged by returning, durable then if `fua`."""
        count = len(data)
        if (
            (offset | count) & BLOCK_MASK
            or not 0 < count <= REQUEST_BYTES_MAX
            or offset + count > volume.size_bytes
            or not volume.writable
        ):
            check_change(volume, offset, count, REQUEST_BYTES_MAX)
        path = self._path
        try:
            refused = path.write(volume, data, offset, fua)
            while refused is not None:
                path = self._next_path(path, refused)
                refused = path.write(volume, data, offset, fua)
        except StorageError as error:
            self._flush_elsewhere(path, volume, error)

    def zero(self, volume: ServedVolume, offset: int, count: int, may_trim: bool, fua: bool = False) -> None:
        """Make a range read as zeros."""
        self._clear(volume, offset, count, Flag.TRIM if may_trim else Flag.ZERO, fua)

    def trim(self, volume: ServedVolume, offset: int, count: int, fua: bool = False) -> None:
        """Give a range's space back; it reads as zeros."""
        self._clear(volume, offset, count, Flag.TRIM, fua)

    def flush(self, volume: ServedVolume) -> None:
        """Make everything acknowledged before, on any connection, durable."""
        path = self._sound_path()
        try:
            path.flush(volume)
        except StorageError as error:
            self._flush_elsewhere(path, volume, error)

    def extents(self, volume: ServedVolume, offset: int, count: int) -> list[Extent]:
        """What may hold data, clipped to the range and covering it whole."""
        if offset + count > volume.size_bytes:
            raise UsageError(f"extents beyond the end of {volume.name}: {count} bytes at {offset}")
        return self._sound_path().extents(volume, offset, count)

    def cache(self, volume: ServedVolume, offset: int, count: int) -> None:
        """Read ahead into the page cache."""
        os.posix_fadvise(volume.backing.file, offset, count, os.POSIX_FADV_WILLNEED)

    # commands

    def order_run(self, order: RunOrder) -> RunState:
        """Begin an in-band run, let it go on, or cancel it; see controller/inband/runs.py."""
        if order.cancel and self._runs is not None:  # whether or not journals are written just now
            return self._runs.cancel(order.run)
        settings = self._journal_settings
        if settings is None:
            raise no_journal("cannot run", self.mode)
        opened = self._open_runs(settings)
        return opened.cancel(order.run) if order.cancel else opened.order(order)

    def start(self, settings: JournalSettings) -> Position:
        """Acquisition on; a run that it stopped in goes on."""
        position = super().start(settings)
        self._go_on_with_run(settings)
        return position

    def resume(self, settings: JournalSettings) -> Position:
        """Journal first again; so does a run."""
        position = super().resume(settings)
        self._go_on_with_run(settings)
        return position

    def stop(self) -> None:
        """Acquisition off; a run rests."""
        super().stop()
        self._drop_runs()

    def flush_all(self) -> Position:
        """Make everything acknowledged on all volumes durable; the journal's durable position."""
        path = self._path
        for volume in self.volumes.values():
            path.flush(volume)
        return self._journaled.commit.durable if self._journaled else Position()

    def checkpoint(self) -> Position:
        """Bring everything acknowledged to the stores, durably, and free the journal space that may be freed."""
        journaling = self._journaling
        if journaling is not None:
            return journaling.take_checkpoint()
        self.flush_all()
        return self._journaled.destager.checkpoint if self._journaled else Position()

    def mark(self, payload: bytes) -> Position:
        """Put a marker behind everything acknowledged by now; durable when this returns."""
        with self._change:
            path = self._journaling
            if path is None:
                raise no_journal(f"cannot put a marker into {GROUP}", self.mode)
            return path.put_marker(payload)

    def set_writable(self, name: str, writable: bool) -> None:
        """Let hosts write to a volume, or refuse them."""
        try:
            self.volumes[name].writable = writable
        except KeyError:
            raise NotFoundError(f"no volume {name} is served here") from None

    def status(self) -> dict[str, Any]:
        """Mode, positions and failure, JSON-ready."""
        path, journaled, runs = self._path, self._journaled, self._runs
        positions = dict.fromkeys(("appended", "durable", "checkpoint", "journal_out"), Position())
        if journaled is not None:
            positions = {
                "appended": journaled.appender.tail,
                "durable": journaled.commit.durable,
                "checkpoint": journaled.destager.checkpoint,
                "journal_out": journaled.destager.out,
            }
        return {
            "mode": str(self.mode),
            **{name: asdict(position) for name, position in positions.items()},
            "dirty_bytes": self._marks.dirty_bytes() if self._marks else 0,
            "epoch": self._marks.head.epoch if self._marks else None,
            "failure": self._failure(path),
            "run": run.model_dump(mode="json") if runs is not None and (run := runs.state()) is not None else None,
        }

    def _failure(self, path: HostPath) -> dict[str, Any] | None:
        """What went wrong: with the path in use, or with the journal that it does without."""
        failure, time_ns, marks = path.failure, path.failure_ns, self._marks
        if failure is None and marks is not None and marks.head.state is not MapState.RESYNC:
            if marks.head.cause is not SuspendedCause.ERROR:
                return None
            hint = "Mend the journal's disk, then resume; changed regions are tracked."
            failure, time_ns = StorageError(marks.head.note, hint=hint), marks.head.position.time_ns
        if failure is None:
            return None
        return {
            "error": type(failure).__name__,
            "message": failure.message,
            "hint": failure.hint,
            "time_ns": time_ns,
        }

    def close(self) -> None:
        """Everything acknowledged goes to the stores, durably, and everything is closed."""
        self._drop_runs()
        with self._change:
            path = self._path
            path.close_gate()
            try:
                if path.failure is not None:
                    pass  # what is in the stores and in the journal stays as it is
                elif self._journaling is not None and path.broken is not None:
                    self._give_up_journal(self._journaling)
                else:
                    self.checkpoint()
            finally:
                if self._journaled is not None:
                    self._journaled.close()
                if self._marks is not None:
                    self._marks.close()
                for volume in self.volumes.values():
                    volume.backing.close()

    # within

    def _go_on_with_run(self, settings: JournalSettings) -> None:
        with durable.refusals(settings.run_record):
            there = settings.run_record.exists()
        if there:
            self._open_runs(settings)

    def _open_runs(self, settings: JournalSettings) -> Runs:
        from controller.inband.runs import Runs  # most servers never have one, and start sooner without

        with self._opening:
            if self._runs is None:
                self._runs = Runs(settings.run_record, self._by_index, lambda: self._path, self._generation)
                self._runs.start()
            return self._runs

    def _drop_runs(self) -> None:
        with self._opening:
            runs, self._runs = self._runs, None
        if runs is not None:
            runs.stop()

    def _by_index(self) -> dict[int, ServedVolume]:
        return {volume.index: volume for volume in self.volumes.values()}

    def _generation(self) -> int | None:
        settings = self._journal_settings
        return None if settings is None else settings.generation

    def _sound_path(self) -> HostPath:
        """The path for a request that came after the journal broke is the next one."""
        path = self._path
        return path if path.broken is None else self._next_path(path, Refusal.BROKEN)

    def _flush_elsewhere(self, path: HostPath, volume: ServedVolume, error: StorageError) -> None:
        """A sync failed that a request waited for. It stands, unless the group gives up its journal for it.

        Then all that was taken is brought to the backing stores, which are
        other writes to another disk, and it is their sync that answers.
        """
        if path.broken is None:
            raise error
        sound = self._next_path(path, Refusal.BROKEN)
        if sound is path:
            raise error
        sound.flush(volume)

    def _clear(self, volume: ServedVolume, offset: int, count: int, flag: Flag, fua: bool) -> None:
        check_change(volume, offset, count, volume.size_bytes)
        path = self._path
        try:
            refused = path.clear(volume, offset, count, flag, fua)
            while refused is not None:
                path = self._next_path(path, refused)
                refused = path.clear(volume, offset, count, flag, fua)
        except StorageError as error:
            self._flush_elsewhere(path, volume, error)
