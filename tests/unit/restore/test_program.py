"""The restore program: verified before, synced after, and the pointer last."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from controller.errors import IntegrityError, StorageError
from controller.journal.layout import BLOCK_BYTES, Flag
from controller.journal.pointers import Pointer, PointerPage, Position
from controller.restore import apply as applying
from controller.restore.program import BATCH_BLOCKS, Marker, RestoreProgram
from controller.restore.targets import Targets
from controller.volume.backing import Backing
from tests.unit.copy.parts import Primary, block, content, marker_data, svol

VOLUME_BYTES = 1 << 20


@dataclass
class Group:
    """A journal whose content is already read, and its SVOLs."""

    primary: Primary  # stands in for the local journal: both have one form
    pointers: PointerPage
    svols: dict[int, Backing]
    markers: list[Marker] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.targets = Targets(self.svols)
        self.program = self.reopen()

    def reopen(self) -> RestoreProgram:
        self.program = RestoreProgram(self.primary.journal, self.pointers, self.targets, self.markers.extend)
        return self.program

    def restored(self) -> int:
        return self.pointers.read(Pointer.ALREADY_RESTORED).sequence

    def untouched(self) -> bool:
        return all(not any(content(backing)) for backing in self.svols.values())


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Group]:
    primary = Primary(tmp_path / "journal", 4 << 20, {0: VOLUME_BYTES, 2: VOLUME_BYTES})
    pointers = PointerPage.create(str(tmp_path / "pointers"))
    svols = {index: svol(tmp_path / f"svol{index}", VOLUME_BYTES) for index in primary.volumes}
    yield Group(primary, pointers, svols)
    for backing in svols.values():
        backing.close()
    pointers.close()
    primary.close()


def test_svol_is_right_and_the_pointer_follows(group: Group) -> None:
    group.primary.write(0, 0, block(1, 16))
    group.primary.write(2, 5, block(2, 3))
    group.primary.write(0, 8, block(3, 2))
    group.primary.clear(0, 2, 4, Flag.TRIM)
    last = group.primary.write(0, 3, block(4))
    assert group.program.step(last)
    assert group.program.applied == group.primary.end
    assert group.restored() == 0
    assert group.program.pending
    group.program.settle()
    assert group.pointers.read(Pointer.ALREADY_RESTORED) == group.primary.end
    assert group.pointers.read(Pointer.RESTORE_SCHEDULED) == group.primary.end
    assert {index: content(backing) for index, backing in group.svols.items()} == group.primary.volumes
    assert not group.program.step(last)


def test_limit_holds(group: Group) -> None:
    for number in range(6):
        group.primary.write(0, 0, block(number + 1))
    group.program.step(4)
    group.program.settle()
    assert content(group.svols[0])[:BLOCK_BYTES] == block(4)
    assert group.restored() == 4


def test_batches_are_bounded_by_data(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.restore.program.BATCH_BLOCKS", 64)
    assert BATCH_BLOCKS > 64
    for number in range(5):
        group.primary.write(0, 0, block(number + 1, 32))
    group.primary.write(0, 0, block(9, 100))
    ends = []
    while group.program.step(6):
        ends.append(group.program.applied.sequence)
    assert ends == [2, 4, 5, 6]


def test_pointer_moves_only_after_every_touched_volume_is_synced(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    group.primary.write(0, 0, block(1))
    group.primary.write(2, 0, block(2))
    synced: list[tuple[int, int]] = []
    for index, backing in group.svols.items():
        honest = backing.sync

        def sync(index: int = index, honest: object = honest) -> None:
            synced.append((index, group.restored()))
            honest()  # type: ignore[operator]

        monkeypatch.setattr(backing, "sync", sync)
    group.program.step(2)
    assert synced == []
    group.program.settle()
    assert sorted(synced) == [(0, 0), (2, 0)]
    group.primary.write(2, 1, block(3))
    group.program.step(3)
    group.program.settle()
    assert synced[2:] == [(2, 2)]


def test_refused_sync_is_not_believed_later(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    group.primary.write(0, 0, block(1))
    group.primary.write(0, 1, block(2))
    group.program.step(1)

    def refuse() -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(group.svols[0], "sync", refuse)
        with pytest.raises(StorageError, match="input/output error"):
            group.program.settle()
    # The kernel says "fine" to the next sync, though what was written may be gone.
    with pytest.raises(StorageError, match="not trusted"):
        group.program.settle()
    assert group.restored() == 0
    group.program.reset()
    group.svols[0].pwrite(bytes(2 * BLOCK_BYTES), 0)  # what the disk lost
    group.program.step(2)
    group.program.settle()
    assert content(group.svols[0]) == group.primary.volumes[0]
    assert group.restored() == 2


@pytest.mark.parametrize("count", range(1, 9))
def test_a_backlog_is_written_whole_in_parts(group: Group, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(applying, "BACKLOG_PIECES", 2)
    monkeypatch.setattr(applying, "PART_PIECES", 3)
    for number in range(count):  # with gaps: no two are one piece
        group.primary.write(0, 16 * number, block(number + 1))
    group.program.step(count)
    group.program.settle()
    assert content(group.svols[0]) == group.primary.volumes[0]


def test_refused_write_moves_nothing(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    group.primary.write(0, 0, block(1))

    def refuse(*of_no_interest: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("controller.restore.apply.write_pieces", refuse)
        with pytest.raises(StorageError, match="no space left"):
            group.program.step(1)
    assert not group.program.pending
    group.program.settle()
    assert group.restored() == 0
    group.program.step(1)
    group.program.settle()
    assert content(group.svols[0]) == group.primary.volumes[0]


BAD = [
    ("checksum", {"volume_lba": 9}, False),
    ("gap", {"sequence": 4}, True),
    ("generation", {"generation": 2}, True),
    ("volume", {"volume": 1}, True),
    ("address", {"volume_lba": 5000}, True),
    ("position", {"data_position": 99}, True),
    ("length", {"block_count": 8}, True),
]


@pytest.mark.parametrize(("fields", "valid"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_record_stops_before_the_svol(group: Group, fields: dict[str, int], valid: bool) -> None:
    group.primary.write(0, 0, block(1))
    group.primary.write(0, 1, block(2))
    group.primary.spoil_record(1, valid, **fields)
    with pytest.raises(IntegrityError, match="record 1 "):
        group.program.step(2)
    assert group.untouched()
    assert group.restored() == 0


def test_bad_data_stops_before_it_and_keeps_what_was_before(group: Group) -> None:
    for number in range(4):
        group.primary.write(0, number, block(number + 1))
    group.primary.spoil_data(3)
    assert group.program.step(4)
    with pytest.raises(IntegrityError, match="the data of record 3"):
        group.program.step(4)
    assert group.restored() == 2
    assert content(group.svols[0])[: 4 * BLOCK_BYTES] == block(1) + block(2) + bytes(2 * BLOCK_BYTES)


def test_markers_come_in_order_and_before_the_pointer(group: Group) -> None:
    group.primary.marker(marker_data(1))
    group.primary.write(0, 0, block(2))
    group.primary.marker(marker_data(2))
    group.primary.marker(marker_data(3, 2))
    group.program.step(4)
    assert group.markers == []
    group.program.settle()
    assert [(marker.sequence, marker.payload) for marker in group.markers] == [
        (1, marker_data(1)),
        (3, marker_data(2)),
        (4, marker_data(3, 2)),
    ]
    assert [marker.time_ns for marker in group.markers] == group.primary.journal.records(1, 4)["time_ns"][
        [0, 2, 3]
    ].tolist()
    assert group.restored() == 4


def test_a_kill_between_apply_and_settle_brings_markers_and_journals_again(group: Group) -> None:
    group.primary.write(0, 0, block(1))
    group.primary.marker(marker_data(2))
    group.program.step(2)
    group.reopen()
    assert group.program.restored == Position()
    group.program.step(2)
    group.program.settle()
    group.reopen()
    assert group.program.restored.sequence == 2
    assert [marker.sequence for marker in group.markers] == [2]


def test_syncs_have_a_pause_between_them(group: Group) -> None:
    group.primary.write(0, 0, block(1))
    assert group.program.sync_due_seconds() <= 0
    group.program.step(1)
    group.program.settle()
    assert 0 < group.program.sync_due_seconds() <= 0.1
