"""A whole copy cut short by the end of its controller, with changed regions waiting behind it: it goes on unasked."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from controller.api.models import ChangedRegions, CopyState, InitialCopyMethod, InitialCopyOrder
from controller.copy import initial
from controller.copy.in_flight import Range
from controller.copy.initials import InitialCopying
from controller.copy.progress import load
from controller.copy.resync import Resync
from controller.errors import PeerError
from controller.journal.pointers import Position
from controller.restore.gate import RestoreGate
from controller.restore.targets import Targets
from controller.volume import regions
from controller.volume.regions import REGION_BYTES
from tests.support.waiting import wait_until
from tests.unit.copy.parts import GROUP, FileLink, Primary, content, svol

SIZE = 12 * REGION_BYTES
MARKER = 5  # the journal that says "resumed"


class FailingLink(FileLink):
    """Dead after so many reads."""

    left = 0

    def read_ranges(self, ranges: Iterable[Range]) -> None:
        if FailingLink.left == 0:
            raise PeerError("the link is down")
        FailingLink.left -= 1
        super().read_ranges(ranges)


class Site:
    """A secondary's copy, opened and closed as its controller lives and dies."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.primary = Primary(directory / "primary", 1 << 20, {0: SIZE})
        self.pvol = directory / "pvol0"
        self.pvol.write_bytes(random.Random(1).randbytes(SIZE))
        self.svol = svol(directory / "svol0", SIZE)
        self.copying = self.open()

    def open(self) -> InitialCopying:
        targets = Targets({0: self.svol})
        self.gate = RestoreGate()
        resync = Resync(self.directory, GROUP, targets, self.gate, self.restored, lambda to: None, lambda: None)
        path = self.directory / "copy.json"
        copying = InitialCopying(path, targets, resync, lambda: None, lambda *event: None, link_type=FailingLink)
        copying.start()
        return copying

    def restored(self) -> Position:
        """Everything before the marker."""
        return Position(MARKER - 1, 0, 0)

    def dies_and_starts(self) -> None:
        self.copying.halt()
        self.copying = self.open()

    def order(self, method: InitialCopyMethod) -> InitialCopyOrder:
        changed = None
        if method is InitialCopyMethod.DIFFERENTIAL:
            flags = bytearray(regions.count_of(SIZE))
            regions.mark(flags, 0, 1)
            wire = regions.to_wire({0: regions.pack(flags)})
            changed = ChangedRegions(epoch="e", region_bytes=REGION_BYTES, sequence=MARKER - 1, volumes=wire)
        source = self.primary.source(volume_uris={"0": str(self.pvol)})
        return InitialCopyOrder(source=source, method=method, regions=changed)

    def wait_begun(self) -> None:
        wait_until(lambda: load(self.directory / "copy.json").bytes_done > 0, what="the copy to have stored progress")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(FileLink, "calls", [])
    monkeypatch.setattr(initial, "WINDOW_BYTES_MAX", REGION_BYTES)
    monkeypatch.setattr(initial, "SAVE_BYTES", 0)
    made = Site(tmp_path)
    FailingLink.left = 5
    made.copying.take(made.order(InitialCopyMethod.DIRECT))
    made.wait_begun()
    FailingLink.left = 0
    yield made
    made.copying.halt()
    made.svol.close()
    made.primary.close()


def test_an_interrupted_whole_copy_goes_on_by_itself(site: Site) -> None:
    site.dies_and_starts()
    FailingLink.left = 100
    wait_until(lambda: site.copying.state().state is CopyState.DONE, what="the copy to end")
    assert content(site.svol) == site.pvol.read_bytes()


@pytest.mark.parametrize("ordered", ["before", "after"])
def test_changed_regions_take_in_what_the_whole_copy_had_left(site: Site, ordered: str) -> None:
    """Nobody orders the whole copy again, and nobody has to: the regions' copy ends it."""
    with site.pvol.open("r+b") as file:  # never of another size: the copy looks at it
        file.write(random.Random(2).randbytes(REGION_BYTES))
    if ordered == "before":
        site.copying.take(site.order(InitialCopyMethod.DIFFERENTIAL))
    site.dies_and_starts()
    if ordered == "after":
        site.copying.take(site.order(InitialCopyMethod.DIFFERENTIAL))
    FailingLink.left = 100
    wait_until(lambda: site.copying.state().state is CopyState.DONE, what="the copy to end")
    state = site.copying.state()
    assert (state.epoch, state.pending) == ("e", False)
    assert content(site.svol) == site.pvol.read_bytes()
    assert site.gate.covers == MARKER
    assert site.copying.consistent_sequence is not None
