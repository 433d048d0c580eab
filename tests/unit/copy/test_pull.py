"""The copy program takes what is right, in order, and names what is not."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from controller.copy.in_flight import Range
from controller.copy.pull import REREADS_MAX, JournalPull, Outcome
from controller.errors import CapacityError, IntegrityError, PeerError, StorageError
from controller.journal.layout import BLOCK_BYTES, Flag, Kind, group_tag
from controller.journal.pointers import Pointer, PointerPage, Position
from controller.journal.volume import JournalVolume
from controller.restore.space import JournalSpace
from tests.unit.copy.parts import FileLink, Primary, block, empty_secondary, file_remote, marker_data

VOLUME_BYTES = 1 << 20


@dataclass
class Sides:
    primary: Primary
    journal: JournalVolume
    pointers: PointerPage
    pull: JournalPull

    def until_here(self) -> list[Outcome]:
        """Step until nothing is left to do; the outcomes."""
        outcomes: list[Outcome] = []
        while not outcomes or outcomes[-1] in (Outcome.MORE, Outcome.REREAD):
            outcomes.append(self.pull.step().outcome)
        return outcomes

    def restored(self, position: Position) -> None:
        self.pointers.publish(Pointer.ALREADY_RESTORED, position)


def make_sides(directory: Path, primary_bytes: int = 2 << 20, secondary_bytes: int = 3 << 20) -> Sides:
    primary = Primary(directory / "primary", primary_bytes, {0: VOLUME_BYTES, 3: VOLUME_BYTES})
    empty_secondary(directory / "secondary", secondary_bytes)
    journal = JournalVolume.open(str(directory / "secondary" / "journal"), writable=True)
    pointers = PointerPage.open(str(directory / "secondary" / "pointers"))
    blocks = {index: len(volume) // BLOCK_BYTES for index, volume in primary.volumes.items()}
    pull = JournalPull(journal, pointers, JournalSpace(journal, pointers), blocks)
    pull.connect(file_remote(primary.source()))
    return Sides(primary, journal, pointers, pull)


Make = Callable[..., Sides]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Sides of a given journal size each, closed at the end."""
    made: list[Sides] = []

    def one(**sizes: int) -> Sides:
        made.append(make_sides(tmp_path, **sizes))
        return made[-1]

    yield one
    for sides in made:
        sides.pull.close()
        sides.primary.close()
        sides.pointers.close()
        sides.journal.close()


@pytest.fixture
def sides(make: Make) -> Sides:
    return make()


def same(sides: Sides, first: int, last: int) -> bool:
    """Whether both journals hold the same records and data."""
    records = sides.primary.journal.records(first, last)
    if records.tobytes() != sides.journal.records(first, last).tobytes():
        return False
    return all(
        b"".join(journal_views(sides.primary.journal, record)) == b"".join(journal_views(sides.journal, record))
        for record in records
    )


def journal_views(journal: JournalVolume, record: object) -> list[memoryview]:
    return journal.data_views(int(record["data_position"]), int(record["data_blocks"]))  # type: ignore[index]


def test_all_kinds_arrive_as_they_are(sides: Sides) -> None:
    sides.primary.write(0, 0, block(1, 8))
    sides.primary.write(3, 2047, block(2))
    sides.primary.clear(0, 100, 50, Flag.ZERO)
    sides.primary.clear(3, 0, 2048, Flag.TRIM)
    sides.primary.marker(marker_data(7, 3))
    sides.primary.marker(marker_data(8))
    end = sides.primary.commit()
    assert sides.until_here() == [Outcome.MOVED]
    assert sides.pull.read == sides.pointers.read(Pointer.ALREADY_READ) == end
    assert sides.pointers.read(Pointer.READ_SCHEDULED) == end
    assert same(sides, 1, 6)
    assert sides.pull.step().outcome is Outcome.NOTHING


def test_nothing_beyond_the_durable_pointer_is_taken(sides: Sides) -> None:
    sides.primary.write(0, 0, block(1))
    durable = sides.primary.commit()
    sides.primary.write(0, 1, block(2))
    assert sides.until_here() == [Outcome.MOVED]
    assert sides.pull.read == durable
    assert sides.journal.records(2, 2)["sequence"][0] == 0


def test_limit_holds(sides: Sides) -> None:
    for number in range(10):
        sides.primary.write(0, number, block(number))
    sides.primary.commit()
    assert sides.pull.step(limit=4).outcome is Outcome.MORE
    assert sides.pull.step(limit=4).outcome is Outcome.NOTHING
    assert sides.pull.read.sequence == 4
    assert same(sides, 1, 4)


def test_already_read_moves_after_the_sync(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    sides.primary.write(0, 0, block(1))
    sides.primary.commit()
    at_sync: list[int] = []

    def sync() -> None:
        at_sync.append(sides.pointers.read(Pointer.ALREADY_READ).sequence)
        assert same(sides, 1, 1)

    monkeypatch.setattr(sides.journal, "sync", sync)
    sides.until_here()
    assert at_sync == [0]
    assert sides.pull.read.sequence == 1


def test_refused_sync_publishes_nothing_and_the_window_comes_again(
    sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides.primary.write(0, 0, block(1))
    end = sides.primary.commit()

    def sync() -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(sides.journal, "sync", sync)
        with pytest.raises(StorageError, match="input/output error"):
            sides.pull.step()
    assert sides.pointers.read(Pointer.ALREADY_READ) == Position()
    sides.pull.reset()
    sides.until_here()
    assert sides.pull.read == end


BAD_RECORDS = [
    ("checksum", {"volume_lba": 9}, False, "fails its checksum"),
    ("sequence", {"sequence": 9}, True, "record 3 is missing: its slot holds record 9"),
    ("group", {"group_tag": group_tag("00000000-0000-0000-0000-000000000000")}, True, "belongs to another group"),
    ("lower generation", {"generation": 1}, True, "generation 1, lower than 2"),
    ("higher generation", {"generation": 3}, True, "generation 3, higher than 2"),
    ("position", {"data_position": 5}, True, "has data at 5"),
    ("unknown volume", {"volume": 1}, True, "volume 1, which the group does not have"),
    ("volume beyond all", {"volume": 65535}, True, "volume 65535, which the group does not have"),
    ("beyond the end", {"volume_lba": VOLUME_BYTES // BLOCK_BYTES}, True, "lies outside volume 0"),
    ("address wraps", {"volume_lba": (1 << 64) - 1}, True, "lies outside volume 0"),
    ("length", {"block_count": 2}, True, "has 1 blocks of data for 2 of the volume"),
    ("zero with data", {"flags": int(Flag.ZERO)}, True, "has 1 blocks of data for 1 of the volume"),
    ("kind", {"kind": 9}, True, "unknown kind 9"),
    ("flags", {"flags": 8}, True, "unknown flags 8"),
    ("marker on a volume", {"kind": int(Kind.MARKER)}, True, "has 1 blocks of data for 1"),
    ("data checksum", {"data_crc": 1}, True, "the data of record 3 fails its checksum"),
]


@pytest.mark.parametrize(
    ("fields", "valid", "words"), [row[1:] for row in BAD_RECORDS], ids=[row[0] for row in BAD_RECORDS]
)
@pytest.mark.parametrize("first", [True, False], ids=["alone", "behind good ones"])
def test_bad_record_is_named_and_never_passed(
    sides: Sides, fields: dict[str, int], valid: bool, words: str, first: bool
) -> None:
    sides.primary.generation = 2
    sides.primary.write(0, 0, block(1))
    sides.primary.write(3, 8, block(2))
    if first:
        sides.primary.commit()
        sides.pull.connect(file_remote(sides.primary.source()))
        sides.until_here()
    sides.primary.write(0, 16, block(3))
    sides.primary.write(0, 24, block(4))
    sides.primary.commit()
    sides.primary.spoil_record(3, valid, **fields)
    sides.pull.connect(file_remote(sides.primary.source()))
    with pytest.raises(IntegrityError, match=words) as caught:
        sides.until_here()
    assert caught.value.facts["sequence"] == 3
    assert "record 3" in caught.value.message
    assert sides.pointers.read(Pointer.ALREADY_READ).sequence == 2
    assert sides.journal.records(3, 4)["sequence"].tolist() == [0, 0]
    assert sides.pull.rereads == REREADS_MAX + (0 if first else 1)


def test_corruption_on_the_wire_is_read_again_and_counted(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        sides.primary.write(0, number, block(number))
    end = sides.primary.commit()
    spoiled: list[int] = []
    honest = FileLink.read_ranges

    def read_ranges(link: FileLink, ranges: Iterable[Range]) -> None:
        pieces = list(ranges)
        honest(link, pieces)
        if len(spoiled) < REREADS_MAX and len(pieces) > 1:  # metadata and data at once
            pieces[1][2][700] ^= 1
            spoiled.append(1)

    monkeypatch.setattr(FileLink, "read_ranges", read_ranges)
    # The first record is good each time: that much is kept, and what follows it is read again.
    assert sides.until_here() == [Outcome.MORE, Outcome.MORE, Outcome.MOVED]
    assert sides.pull.read == end
    assert same(sides, 1, 20)
    assert sides.pull.rereads == REREADS_MAX


def test_first_record_spoiled_on_the_wire_is_read_again(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    sides.primary.write(0, 0, block(1))
    end = sides.primary.commit()
    honest = FileLink.read_ranges
    spoiled: list[int] = []

    def read_ranges(link: FileLink, ranges: Iterable[Range]) -> None:
        pieces = list(ranges)
        honest(link, pieces)
        if not spoiled and len(pieces) > 1:
            pieces[0][2][5] ^= 1
            spoiled.append(1)

    monkeypatch.setattr(FileLink, "read_ranges", read_ranges)
    assert sides.until_here() == [Outcome.REREAD, Outcome.MOVED]
    assert sides.pull.read == end
    assert sides.pull.rereads == 1


def test_full_journal_waits_for_restore_to_be_durable(sides: Sides) -> None:
    blocks = 64
    while sides.primary.end.data_position + blocks < sides.primary.journal.data_blocks:
        sides.primary.write(0, 0, block(sides.primary.end.sequence, blocks))
    middle = sides.primary.commit()
    sides.until_here()
    sides.primary.write(0, 0, block(77, blocks))
    sides.primary.write(0, 0, block(78, blocks))
    while sides.primary.end.data_position + blocks < 2 * sides.primary.journal.data_blocks:
        sides.primary.write(0, 0, block(sides.primary.end.sequence, blocks))
    sides.primary.commit()
    assert sides.until_here()[-1] is Outcome.FULL
    full = sides.pull.read
    assert full.data_position <= sides.journal.data_blocks < full.data_position + blocks
    assert same(sides, full.sequence - 20, full.sequence)
    sides.restored(middle)
    assert sides.until_here()[-1] is Outcome.MOVED
    assert same(sides, middle.sequence + 1, sides.primary.end.sequence)


@pytest.mark.parametrize("clears", [0.1, 0.97])  # the area of the data is full first, or that of the records
def test_a_page_that_is_filled_takes_no_journal_that_waits_for_restore(make: Make, clears: float) -> None:
    sides = make(primary_bytes=4 << 20, secondary_bytes=1 << 20)
    chance, ends, restored = random.Random(3), [Position()], 0
    for number in range(1200):
        if chance.random() < clears:
            sides.primary.clear(0, 0, 8, Flag.TRIM)
        else:
            sides.primary.write(0, 0, block(number % 251, chance.randrange(1, 24)))
        ends.append(sides.primary.commit())
        while sides.until_here()[-1] is Outcome.FULL:
            restored += 1
            sides.restored(ends[restored])
        if number % 8 == 0:
            assert same(sides, restored + 1, sides.pull.read.sequence)
    assert restored > 600


def test_freed_space_is_used_only_after_its_pointer_is_durable(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = sides.journal.data_blocks
    assert blocks > 2048
    sides.primary.journal.close()
    sides.primary = big = Primary(sides.primary.directory.parent / "big", 8 << 20, {0: VOLUME_BYTES, 3: VOLUME_BYTES})
    sides.pull.connect(file_remote(big.source()))
    for number in range(3):
        big.write(0, 0, block(number, 2048))
    big.commit()
    assert sides.until_here()[-1] is Outcome.FULL
    order: list[str] = []
    persist, sync = sides.pointers.persist, sides.journal.sync

    def noted(name: str, call: Callable[[], None]) -> Callable[[], None]:
        def call_and_note() -> None:
            order.append(name)
            call()

        return call_and_note

    monkeypatch.setattr(sides.pointers, "persist", noted("persist", persist))
    monkeypatch.setattr(sides.journal, "sync", noted("sync", sync))
    sides.restored(sides.pull.read)
    sides.until_here()
    assert order[:2] == ["persist", "sync"]


def test_record_larger_than_the_journal_is_named(make: Make) -> None:
    sides = make(primary_bytes=4 << 20, secondary_bytes=1 << 20)
    sides.primary.write(0, 0, block(1, 2048))
    sides.primary.commit()
    with pytest.raises(CapacityError, match="record 1 has 2048 blocks"):
        sides.pull.step()


def test_metadata_area_may_be_the_one_that_fills(make: Make) -> None:
    sides = make(primary_bytes=4 << 20, secondary_bytes=1 << 20)
    slots = sides.journal.slot_count
    assert slots < sides.primary.journal.slot_count
    for number in range(slots + 5):
        sides.primary.clear(0, number % 100, 1, Flag.ZERO)
    sides.primary.commit()
    assert sides.until_here()[-1] is Outcome.FULL
    assert sides.pull.read.sequence == slots
    sides.restored(sides.pull.read)
    assert sides.until_here()[-1] is Outcome.MOVED
    assert sides.pull.read == sides.primary.end
    assert same(sides, slots + 1, slots + 5)


def test_a_journal_that_moved_is_a_lost_link_and_another_composition_is_refused(sides: Sides, tmp_path: Path) -> None:
    sides.primary.write(0, 0, block(1))
    sides.primary.commit()
    other = Primary(tmp_path / "other", 2 << 20, {0: VOLUME_BYTES})
    source = sides.primary.source()
    moved_away = source.model_copy(update={"links": other.source().links})
    sides.pull.connect(file_remote(moved_away))
    for _ in range(3):
        with pytest.raises(PeerError, match="answers with journal volume"):
            sides.pull.step()
    moved = source.composition.model_copy(update={"data_head_lba": 7})
    sides.pull.connect(file_remote(source.model_copy(update={"composition": moved})))
    with pytest.raises(IntegrityError, match="composition"):
        sides.pull.step()
    assert sides.pointers.read(Pointer.ALREADY_READ) == Position()


def test_diverged_journal_is_refused(sides: Sides, tmp_path: Path) -> None:
    sides.primary.write(0, 0, block(1))
    sides.primary.commit()
    sides.until_here()
    sides.primary.spoil_record(1, time_ns=5)
    sides.primary.write(0, 1, block(2))
    sides.primary.commit()
    sides.pull.close()
    with pytest.raises(IntegrityError, match="record 1 differs"):
        sides.pull.step()


def test_primary_behind_is_looked_at_again_when_it_comes_back(sides: Sides) -> None:
    sides.primary.write(0, 0, block(1))
    end = sides.primary.commit()
    sides.until_here()
    sides.primary.pointers.publish(Pointer.DURABLE, Position())
    assert sides.pull.step().outcome is Outcome.NOTHING
    sides.primary.spoil_record(1, time_ns=5)
    sides.primary.pointers.publish(Pointer.DURABLE, end)
    with pytest.raises(IntegrityError, match="record 1 differs"):
        sides.pull.step()


def test_broken_link_publishes_nothing(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    sides.primary.write(0, 0, block(1))
    sides.primary.commit()
    monkeypatch.setattr(FileLink, "broken", True)
    with pytest.raises(PeerError):
        sides.pull.step()
    assert sides.pointers.read(Pointer.ALREADY_READ) == Position()
    monkeypatch.setattr(FileLink, "broken", False)
    assert sides.until_here() == [Outcome.MOVED]


def test_pointer_page_caught_in_motion_is_read_again(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    sides.primary.write(0, 0, block(1))
    end = sides.primary.commit()
    honest = FileLink.read_ranges
    torn: list[int] = []

    def read_ranges(link: FileLink, ranges: Iterable[Range]) -> None:
        pieces = list(ranges)
        honest(link, pieces)
        if link.uri.endswith("pointers") and len(torn) < 3:
            pieces[0][2][:] = b"\xff" * len(pieces[0][2])
            torn.append(1)

    monkeypatch.setattr(FileLink, "read_ranges", read_ranges)
    assert sides.until_here() == [Outcome.MOVED]
    assert sides.pull.read == end
    monkeypatch.setattr(FileLink, "read_ranges", honest)
    assert sides.pull.step().outcome is Outcome.NOTHING


def test_pointer_page_that_stays_damaged_is_named(sides: Sides) -> None:
    path = sides.primary.directory / "pointers"
    path.write_bytes(b"\xff" * path.stat().st_size)
    for _ in range(2):
        with pytest.raises(IntegrityError, match="damaged"):
            sides.pull.step()
