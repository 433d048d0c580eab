"""Direct initial copy: the PVOLs are read over the data link, window by window, into the SVOLs.

It runs beside journal copy and restore. Three rules keep the SVOL right:

* Acquisition was started before, so every write that a window does not show is
  a journal that restore will bring.
* The SVOL's lock is held from before a window is read until it is written.
  Otherwise restore could apply a journal in between, and the copy would put
  older data, read before that write, over it. The other way round is
  harmless: journals older than the window come over newer data, and the
  newer journals follow.
* What was read is flushed at the primary before it is written here, so the
  SVOL never holds a write that the primary can forget. At the end one more
  flush; the primary's durable pointer after it is the journal from which on
  the SVOL is a prefix of the PVOL's history.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from controller.api.models import CopySource
from controller.copy.link import DataLink, Extent
from controller.copy.progress import Progress
from controller.copy.remote import read_durable
from controller.errors import ConflictError
from controller.journal.pointers import PAGE_BYTES
from controller.restore.targets import Targets, refused
from controller.volume.backing import Backing

WINDOW_BYTES_MAX: Final = 16 << 20
WINDOW_BYTES_MIN: Final = 256 << 10
HOLE_BYTES_MAX: Final = 1 << 30
WINDOW_SECONDS: Final = 0.1  # restore waits that long at most on a link that is slow
SAVE_SECONDS: Final = 1.0
SAVE_BYTES: Final = 256 << 20


class InitialCopyRun:
    """One initial copy, from a stored progress to its end; for one thread at a time.

    `save` makes a progress durable. After PeerError the same run may go on;
    after any other error a new one begins at the stored progress.
    """

    def __init__(
        self,
        progress: Progress,
        source: CopySource,
        targets: Targets,
        save: Callable[[Progress], None],
        stop: threading.Event | None = None,
        link_type: type[DataLink] = DataLink,
    ) -> None:
        self.progress = progress
        self._source = source
        self._targets = targets
        self._save_progress = save
        self._stop = stop
        self._link_type = link_type
        self._epoch = targets.epoch
        self._links: dict[int, DataLink] = {}
        self._buffer = memoryview(bytearray(WINDOW_BYTES_MAX))
        self._window_bytes = WINDOW_BYTES_MAX // 4
        self._touched: set[int] = set()
        self._saved_at = time.monotonic()
        self._saved_bytes = progress.bytes_done

    def step(self) -> bool:
        """Copy one window; False when the copy is complete and durable."""
        volume, offset = self._place()
        if volume is None:
            self._complete()
            return False
        link, backing = self._link(volume), self._targets.backings[volume]
        with self._targets.lock:
            started = time.monotonic()
            window = self._survey(link, offset, backing.size_bytes - offset)
            copied = self._copy(link, backing, window)
            seconds = time.monotonic() - started
        self._touched.add(volume)
        done = self.progress.bytes_done + sum(extent.length for extent in window)
        self.progress = self.progress.moved(done, self.progress.bytes_copied + copied)
        if copied:
            self._pace(seconds)
        if self._due():
            self._save()
        return True

    def close(self) -> None:
        """Drop the connections."""
        for link in self._links.values():
            link.close()

    def _place(self) -> tuple[int | None, int]:
        """Volume and offset at which to go on; no volume when all are done."""
        left = self.progress.bytes_done
        for volume, backing in sorted(self._targets.backings.items()):
            if left < backing.size_bytes:
                return volume, left
            left -= backing.size_bytes
        return None, 0

    def _link(self, volume: int) -> DataLink:
        link = self._links.get(volume)
        if link is None:
            uri = self._source.links.volume_uris.get(str(volume))
            if uri is None:
                raise ConflictError(
                    f"{self._source.site} names no address for volume {volume}",
                    hint="The two sides of the pair have different volumes; create the pair again.",
                )
            link = self._link_type(uri, stop=self._stop, allocation=True)
            self._links[volume] = link
        if not link.connected:
            size = self._targets.backings[volume].size_bytes
            if link.size_bytes != size:
                raise ConflictError(
                    f"PVOL {link.uri} is {link.size_bytes} bytes long, its SVOL {size}",
                    hint="A pair needs volumes of the same size.",
                    volume=volume,
                )
        return link

    def _survey(self, link: DataLink, offset: int, left: int) -> list[Extent]:
        """The next window: bounded data, and holes as long as the primary says they are."""
        window: list[Extent] = []
        data = 0
        for extent in link.extents(offset, min(left, HOLE_BYTES_MAX)):
            if not extent.zero:
                extent = Extent(extent.offset, min(extent.length, self._window_bytes - data), False)
                data += extent.length
            window.append(extent)
            if data == self._window_bytes:
                break
        return window

    def _copy(self, link: DataLink, backing: Backing, window: list[Extent]) -> int:
        """Read, make durable at the primary, write here; how many bytes crossed the link."""
        ranges, done = [], 0
        for extent in window:
            if not extent.zero:
                ranges.append((extent.offset, extent.length, self._buffer[done : done + extent.length]))
                done += extent.length
        link.read_ranges(ranges)
        try:
            punches = [
                (start, length)
                for extent in window
                if extent.zero
                for start, length, is_data in backing.extents(extent.offset, extent.length)
                if is_data
            ]
            if ranges or punches:
                link.flush()
            for offset, _, view in ranges:
                backing.pwrite(view, offset)
            for offset, length in punches:
                backing.punch(offset, length)
        except OSError as error:
            raise refused(backing, error) from error
        return done

    def _pace(self, seconds: float) -> None:
        """Windows that take about as long as restore may be kept waiting."""
        if seconds > WINDOW_SECONDS:
            self._window_bytes = max(self._window_bytes // 2, WINDOW_BYTES_MIN)
        elif seconds < WINDOW_SECONDS / 3:
            self._window_bytes = min(self._window_bytes * 2, WINDOW_BYTES_MAX)

    def _due(self) -> bool:
        return (
            time.monotonic() - self._saved_at >= SAVE_SECONDS
            or self.progress.bytes_done - self._saved_bytes >= SAVE_BYTES
        )

    def _save(self) -> None:
        """The cursor after the sync of what lies before it."""
        self._targets.sync(self._epoch, self._touched)
        self._touched = set()
        self._save_progress(self.progress)
        self._saved_at = time.monotonic()
        self._saved_bytes = self.progress.bytes_done

    def _complete(self) -> None:
        self._save()
        for volume in self._targets.backings:
            self._link(volume).flush()
        pages = self._link_type(self._source.links.pointers_uri, stop=self._stop)
        try:
            durable = read_durable(pages, bytearray(PAGE_BYTES))
        finally:
            pages.close()
        self.progress = self.progress.complete(durable.sequence)
        self._save_progress(self.progress)
