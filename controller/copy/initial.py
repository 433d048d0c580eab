"""Direct initial copy: the PVOLs are read over the data link, window by window, into the SVOLs.

It runs beside journal copy and restore. Three rules keep the SVOL right:

* Acquisition was started before, so every write that a window does not show is
  a journal that restore will bring.
* The SVOL's lock is held from before a window is read until it is written.
  Otherwise restore could apply a journal in between, and the copy would put
  older data, read before that write, over it. The other way round is
  harmless: journals older than the window come over newer data, and the
  newer journals follow. Writes without journals have none that follow: what
  is older than them is not restored behind the copy (`Progress.skips`).
* What was read is flushed at the primary before it is written here, so the
  SVOL never holds a write that the primary can forget. At the end one more
  flush; the primary's durable pointer after it is the journal from which on
  the SVOL is a prefix of the PVOL's history.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from controller.api.models import CopySource, InitialCopyMethod
from controller.copy.areas import Area, CopyAreas
from controller.copy.bucket import Bucket
from controller.copy.link import DataLink, Extent, LinkMaker
from controller.copy.progress import Progress
from controller.copy.remote import read_durable
from controller.copy.ways import Way
from controller.errors import ConflictError
from controller.journal.pointers import PAGE_BYTES
from controller.restore.targets import Targets, refused
from controller.volume.backing import Backing

WINDOW_BYTES_MAX: Final = 16 << 20
WINDOW_BYTES_MIN: Final = 256 << 10
WINDOW_EXTENTS_MAX: Final = 4096
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
        link_type: LinkMaker = DataLink,
        bucket: Bucket | None = None,
        way: Way | None = None,
    ) -> None:
        self.progress = progress
        self._source = source
        self._targets = targets
        self._save_progress = save
        self._stop = stop
        self._link_type = link_type
        self._bucket = bucket or Bucket()
        self._way = way
        self._epoch = targets.epoch
        self._areas: CopyAreas | None = None
        self._links: dict[int, DataLink] = {}
        self._buffer = memoryview(bytearray(WINDOW_BYTES_MAX))
        self._link_bytes = WINDOW_BYTES_MAX // 4  # of one window, as the link goes
        self._window_bytes = self._link_bytes  # of this one: under the limit too
        self._touched: set[int] = set()
        self._saved_at = time.monotonic()
        self._saved_bytes = progress.bytes_done

    def step(self) -> bool:
        """Copy one window; False when the copy is complete and durable."""
        if self._areas is None:
            self._areas = self._begin()
        area = next(self._areas.after(self.progress.bytes_done), None)
        if area is None:
            self._complete()
            return False
        if area.volume in self._links:
            self._links[area.volume].reconsider()
        link, backing = self._link(area.volume), self._targets.backings[area.volume]
        self._window_bytes = self._bucket.step_bytes(self._link_bytes)
        self._bucket.moves(self._window_bytes)
        with self._targets.lock:
            started = time.monotonic()
            window = self._survey(link, self._areas.after(self.progress.bytes_done))
            copied = self._copy(link, area.volume, backing, window)
            seconds = time.monotonic() - started
        self._bucket.moves(copied - self._window_bytes)
        self._touched.add(area.volume)
        done = self.progress.bytes_done + sum(extent.length for extent in window)
        self.progress = self.progress.moved(done, self.progress.bytes_copied + copied)
        if copied:
            self._pace(seconds)
        if self._due():
            self._save()
        return True

    def _begin(self) -> CopyAreas:
        """A whole copy takes in all that changed without journals up to here, so it says where here is.

        Durably, before its first window: a journal from before, restored after
        the window of its place, would come over what no later journal brings.
        """
        progress = self.progress
        if progress.method is InitialCopyMethod.DIRECT and not progress.bytes_done:
            here = self._durable()
            self.progress = progress.covering(here).skipping(here)
            if self.progress != progress:
                self._save_progress(self.progress)
        sizes = {index: backing.size_bytes for index, backing in self._targets.backings.items()}
        return CopyAreas(progress.order, sizes)

    def close(self) -> None:
        """Drop the connections."""
        for link in self._links.values():
            link.close()

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
            link.way = self._way
            self._links[volume] = link
        if not link.connected:
            size = self._targets.backings[volume].size_bytes
            if link.size_bytes != size:
                raise ConflictError(
                    f"PVOL {link.uri} is {link.size_bytes} bytes long, its SVOL {size}",
                    hint='Both need the same size: give a "pairvol volume resize" that was cut short again.',
                    volume=volume,
                )
        return link

    def _survey(self, link: DataLink, areas: Iterator[Area]) -> list[Extent]:
        """The next window, on one volume: bounded data, and holes as long as the primary says they are."""
        window: list[Extent] = []
        data = looked = 0
        volume: int | None = None
        for area in areas:
            full = data == self._window_bytes or looked >= HOLE_BYTES_MAX or len(window) >= WINDOW_EXTENTS_MAX
            if full or volume not in (None, area.volume):
                break
            volume, before = area.volume, looked
            for extent in link.extents(area.offset, min(area.length, HOLE_BYTES_MAX)):
                if not extent.zero:
                    extent = Extent(extent.offset, min(extent.length, self._window_bytes - data), False)
                    data += extent.length
                window.append(extent)
                looked += extent.length
                if data == self._window_bytes:
                    break
            if looked - before < area.length:
                break
        return window

    def _copy(self, link: DataLink, volume: int, backing: Backing, window: list[Extent]) -> int:
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
                self._targets.protect((volume, *place) for place in (*(r[:2] for r in ranges), *punches))
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
            self._link_bytes = max(self._link_bytes // 2, WINDOW_BYTES_MIN)
        elif seconds < WINDOW_SECONDS / 3:
            self._link_bytes = min(self._link_bytes * 2, WINDOW_BYTES_MAX)

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
        self.progress = self.progress.complete(self._durable())
        self._save_progress(self.progress)

    def _durable(self) -> int:
        """The newest journal that the primary cannot lose."""
        pages = self._link_type(self._source.links.pointers_uri, stop=self._stop)
        pages.way = self._way
        try:
            return read_durable(pages, bytearray(PAGE_BYTES)).sequence
        finally:
            pages.close()
