"""The write path against byte arrays: every request, every mode, restarts, and a secondary that restores its journal.

The journal is as small as journals can be, so it wraps and fills. `crash`
abandons the server with everything that is in memory; the page cache stays,
as after a kill -9.
"""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from controller.api.models import AcquisitionMode
from controller.api.runs import Range, RunKind
from controller.errors import CapacityError, UsageError
from controller.inband.chunk import Chunk
from controller.journal.pointers import Pointer, PointerPage
from controller.journal.volume import JournalVolume
from controller.restore.apply import apply
from controller.volume import overlay as overlay_module
from controller.volume.backing import Backing
from controller.volume.host_path import ServedVolume
from controller.volume.journaled import JournaledPath
from controller.volume.write_path import WritePath
from tests.support.volume_server import GroupFiles

SIZES = {"data": 4 << 20, "log": 1 << 20}
BLOCK = 512
names = st.sampled_from(sorted(SIZES))
places = st.one_of(st.integers(0, 2047), st.integers(0, 255).map(lambda page: page * 8))
lengths = st.one_of(st.integers(1, 20), st.sampled_from([8, 16, 64, 256, 1024]))
seeds = st.integers(0, 1 << 30)


def abandon(server: WritePath) -> None:
    """What kill -9 leaves: nothing is drained, nothing synced, all locks let go."""
    journaled = server._journaled
    if journaled is not None:
        journaled.close()
    for volume in server.volumes.values():
        volume.backing.close()


class WritePathMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="pairvol-")
        self.files = GroupFiles(Path(self.folder.name), SIZES, 1 << 20, full_wait_seconds=0.05).create()
        self.models = {name: bytearray(size) for name, size in SIZES.items()}
        self.restored = {name: bytearray(size) for name, size in SIZES.items()}
        self.restored_sequence: int | None = 0  # None: writes went past the journal
        self.server = WritePath.open(self.files.settings)

    @rule(name=names, block=places, blocks=lengths, seed=seeds, fua=st.booleans())
    def write(self, name: str, block: int, blocks: int, seed: int, fua: bool) -> None:
        volume, offset, count = self._span(name, block, blocks)
        data = random.Random(seed).randbytes(count)
        self.server.write(volume, memoryview(data), offset, fua)
        self._changed(volume, offset, data)

    @rule(name=names, block=places, blocks=lengths, may_trim=st.booleans(), fua=st.booleans())
    def zero(self, name: str, block: int, blocks: int, may_trim: bool, fua: bool) -> None:
        volume, offset, count = self._span(name, block, blocks)
        self.server.zero(volume, offset, count, may_trim, fua)
        self._changed(volume, offset, bytes(count))

    @rule(name=names, block=places, blocks=lengths)
    def trim(self, name: str, block: int, blocks: int) -> None:
        volume, offset, count = self._span(name, block, blocks)
        self.server.trim(volume, offset, count)
        self._changed(volume, offset, bytes(count))

    @rule(name=names, block=places, blocks=lengths)
    def read(self, name: str, block: int, blocks: int) -> None:
        volume, offset, count = self._span(name, block, blocks)
        assert self._read(volume, offset, count) == self.models[name][offset : offset + count]

    @rule(name=names, block=places, blocks=lengths)
    def extents(self, name: str, block: int, blocks: int) -> None:
        volume, offset, count = self._span(name, block, blocks)
        at = offset
        for start, length, is_data in self.server.extents(volume, offset, count):
            assert start == at, "in order and without gaps"
            assert is_data or not any(self.models[name][start : start + length]), "a hole where data is"
            at += length
        assert at == offset + count

    @rule(name=names)
    def flush(self, name: str) -> None:
        self.server.flush(self.server.volumes[name])

    @rule()
    def checkpoint(self) -> None:
        self.server.checkpoint()
        for name, model in self.models.items():
            assert self.files.volume(name).read_bytes() == model, "the store after a checkpoint"

    @rule(name=names, block=places)
    def beyond_the_end(self, name: str, block: int) -> None:
        volume = self.server.volumes[name]
        offset = volume.size_bytes - BLOCK * (block % 8)
        with pytest.raises(CapacityError):
            self.server.write(volume, memoryview(bytes(8 * BLOCK)), offset)
        with pytest.raises(CapacityError):
            self.server.trim(volume, offset, 8 * BLOCK)
        with pytest.raises(UsageError):
            self.server.read(volume, memoryview(bytearray(8 * BLOCK)), offset)

    @rule(name=names, block=places, blocks=st.integers(1, 500), kind=st.sampled_from([RunKind.BASE, RunKind.REPAIR]))
    def chunk(self, name: str, block: int, blocks: int, kind: RunKind) -> None:
        """A chunk of a run that is in the journal: whatever the secondary has there, it comes to what is here."""
        path = self.server._path
        if not isinstance(path, JournaledPath):
            return
        volume, offset, count = self._span(name, block, blocks)
        taken = Chunk(path, "run", kind).take(volume, Range(volume.index, offset, count), 0)
        if taken is not None:
            self.restored[name][offset : offset + taken.length] = b"?" * taken.length

    @rule()
    def restore_and_confirm(self) -> None:
        """A secondary that takes what is durable: its volumes equal ours, and the space is confirmed."""
        if self.restored_sequence is None:
            return  # no precondition: whether the group is suspended depends on time as well
        self.server.flush(self.server.volumes["data"])
        journal = JournalVolume.open(str(self.files.journal), writable=False)
        page = PointerPage.open(str(self.files.pointers))
        durable = page.read(Pointer.DURABLE)
        with tempfile.TemporaryDirectory() as folder:
            targets = {}
            for index, (name, image) in enumerate(self.restored.items()):
                path = Path(folder) / name
                path.write_bytes(image)
                targets[index] = Backing.open(str(path), len(image))
            apply(journal, targets, self.restored_sequence + 1, durable.sequence)
            for backing in targets.values():
                backing.close()
            self.restored = {name: bytearray((Path(folder) / name).read_bytes()) for name in self.restored}
        self.restored_sequence = durable.sequence
        page.publish(Pointer.CONFIRMED, durable)
        page.close()
        journal.close()
        assert self.restored == self.models, "the secondary's volumes"

    @rule()
    def restart(self) -> None:
        self.server.close()
        self.server = WritePath.open(self.files.settings)

    @rule()
    def crash(self) -> None:
        abandon(self.server)
        self.server = WritePath.open(self.files.settings)

    @rule()
    def acquisition_off_and_on(self) -> None:
        settings = self.files.settings.journal
        assert settings is not None
        self.server.stop()
        assert self.server.mode is AcquisitionMode.DIRECT
        start = self.server.start(settings)
        self.restored = {name: bytearray(model) for name, model in self.models.items()}
        self.restored_sequence = start.sequence
        self.files.confirm_all()

    @invariant()
    def mode_is_what_it_may_be(self) -> None:
        assert self.server.mode in (AcquisitionMode.JOURNAL, AcquisitionMode.SUSPENDED)

    def teardown(self) -> None:
        self.server.close()
        for name, model in self.models.items():
            assert self.files.volume(name).read_bytes() == model, "the store after the end"
        self.folder.cleanup()

    def _span(self, name: str, block: int, blocks: int) -> tuple[ServedVolume, int, int]:
        volume = self.server.volumes[name]
        offset = block * BLOCK % volume.size_bytes
        return volume, offset, min(blocks * BLOCK, volume.size_bytes - offset)

    def _read(self, volume: ServedVolume, offset: int, count: int) -> bytearray:
        found = bytearray(count)
        self.server.read(volume, memoryview(found), offset)
        return found

    def _changed(self, volume: ServedVolume, offset: int, data: bytes) -> None:
        self.models[volume.name][offset : offset + len(data)] = data
        if self.server.mode is AcquisitionMode.SUSPENDED:
            self.restored_sequence = None
            dirty = getattr(self.server._path, "dirty", None)
            assert dirty is not None
            assert any(s <= offset and offset + len(data) <= s + n for s, n in dirty.regions(volume.index))


@pytest.fixture(autouse=True)
def _short_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlay_module, "RANGE_PAGES_MIN", 16)


def test_the_volumes_are_byte_arrays_whatever_happens() -> None:
    run_state_machine_as_test(
        WritePathMachine, settings=settings(max_examples=40, stateful_step_count=50, deadline=None)
    )
