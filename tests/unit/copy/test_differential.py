"""A copy of changed regions: only these are read, and at every window the safe point gives the state before."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.api.models import ChangedRegions, CopyState, InitialCopyMethod, InitialCopyOrder
from controller.copy import initial
from controller.copy.initial import InitialCopyRun
from controller.copy.progress import Progress, load, store
from controller.journal.pointers import Position
from controller.restore.safepoint import SafePoint
from controller.restore.targets import Targets
from controller.volume import regions
from controller.volume.backing import Backing
from controller.volume.regions import REGION_BYTES
from tests.unit.copy.parts import FileLink, Primary, content, svol

SIZES = {0: 12 * REGION_BYTES, 4: 3 * REGION_BYTES + 512}
CHANGED = {0: (1, 2, 7, 11), 4: (3,)}


class Differing:
    """Two equal pairs of volumes, then regions changed at the primary."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.primary = Primary(directory / "primary", 1 << 20, SIZES)
        self.svols: dict[int, Backing] = {}
        dice = random.Random(1)
        for index, size in SIZES.items():
            data = bytearray(dice.randbytes(size))
            data[REGION_BYTES : 2 * REGION_BYTES] = bytes(REGION_BYTES)
            self.svols[index] = svol(directory / f"svol{index}", size)
            self.svols[index].pwrite(data, 0)
            for region in CHANGED[index]:
                part = slice(region * REGION_BYTES, min(size, (region + 1) * REGION_BYTES))
                data[part] = dice.randbytes(part.stop - part.start)
            self.pvol(index).write_bytes(data)
        self.targets = Targets(self.svols)
        self.saved: list[Progress] = []

    def pvol(self, index: int) -> Path:
        return self.directory / f"pvol{index}"

    def order(self) -> InitialCopyOrder:
        packed: dict[int, bytes] = {}
        for index, size in SIZES.items():
            flags = bytearray(regions.count_of(size))
            for region in CHANGED[index]:
                regions.mark(flags, region * REGION_BYTES, 1)
            packed[index] = regions.pack(flags)
        source = self.primary.source(volume_uris={str(index): str(self.pvol(index)) for index in SIZES})
        changed = ChangedRegions(epoch="e", region_bytes=REGION_BYTES, sequence=0, volumes=regions.to_wire(packed))
        return InitialCopyOrder(source=source, method=InitialCopyMethod.DIFFERENTIAL, regions=changed)

    def run(self, progress: Progress | None = None) -> InitialCopyRun:
        order = self.order()
        progress = progress or Progress().begin(order)
        return InitialCopyRun(progress, order.source, self.targets, self.saved.append, link_type=FileLink)


@pytest.fixture
def differing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Differing]:
    monkeypatch.setattr(FileLink, "calls", [])
    made = Differing(tmp_path)
    yield made
    for backing in made.svols.values():
        backing.close()
    made.primary.close()


def test_only_changed_regions_cross_the_link(differing: Differing) -> None:
    run = differing.run()
    while run.step():
        pass
    run.close()
    assert all(content(differing.svols[index]) == differing.pvol(index).read_bytes() for index in SIZES)
    assert run.progress.bytes_copied == run.progress.bytes_done == 4 * REGION_BYTES + 512
    assert (run.progress.state, run.progress.consistent_sequence) == (CopyState.DONE, 0)


def test_a_stored_copy_goes_on_where_it_was(
    differing: Differing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(initial, "WINDOW_BYTES_MAX", 1 << 20)
    monkeypatch.setattr(initial, "SAVE_BYTES", 0)
    first = differing.run()
    assert first.step()
    assert first.step()
    first.close()
    store(tmp_path / "copy.json", differing.saved[-1])
    stored = load(tmp_path / "copy.json")
    assert 0 < stored.bytes_done < 4 * REGION_BYTES
    second = differing.run(stored)
    while second.step():
        pass
    second.close()
    assert all(content(differing.svols[index]) == differing.pvol(index).read_bytes() for index in SIZES)


def test_at_every_window_the_safe_point_gives_the_state_before(
    differing: Differing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(initial, "WINDOW_BYTES_MAX", 1 << 20)
    before = {index: content(backing) for index, backing in differing.svols.items()}
    steps = 0
    while True:
        point = SafePoint.begin(differing.directory / "safepoint", differing.svols, Position(5, 8, 9), 3)
        differing.targets.guard = point
        run = differing.run()
        more = all(run.step() for _ in range(steps + 1))
        run.close()
        assert more is False or any(content(differing.svols[i]) != before[i] for i in SIZES)
        point.roll_back()
        point.discard()
        assert {index: content(backing) for index, backing in differing.svols.items()} == before
        steps += 1
        if not more:
            break
    assert steps >= 5
    assert not os.path.exists(differing.directory / "safepoint")
