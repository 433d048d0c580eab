"""The append step: order, time, space, and the wrap of both areas."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from controller.journal.layout import RECORD_DTYPE, Flag
from controller.journal.pointers import Position
from controller.journal.recovery import scan
from controller.journal.volume import JournalVolume
from controller.volume.append import AnyAppender, Appender, CompiledAppender, piece_bytes_max

GROUP = str(uuid.uuid4())
Step = Callable[..., AnyAppender]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[JournalVolume]:
    path = str(tmp_path / "journal")
    JournalVolume.create(path, 1 << 20, GROUP, 1)
    journal = JournalVolume.open(path, writable=True)
    yield journal
    journal.close()


@pytest.fixture(params=[Appender, CompiledAppender])
def append_step(request: pytest.FixtureRequest) -> Step:
    step: Step = request.param
    return step


def test_nothing_fits_before_the_space_is_released(journal: JournalVolume, append_step: Step) -> None:
    appender = append_step(journal, Position())
    assert not appender.fits(0)
    appender.release(Position())
    assert appender.fits(journal.data_blocks)
    assert not appender.fits(journal.data_blocks + 1)


def test_data_area_fills_and_is_released_exactly(journal: JournalVolume, append_step: Step) -> None:
    appender = append_step(journal, Position())
    appender.release(Position())
    block = bytes(512)
    first_end = None
    while appender.fits(8):
        appender.write(0, 0, block * 8, 8)
        first_end = first_end or appender.tail
    assert appender.data_position == journal.data_blocks // 8 * 8
    assert first_end is not None
    appender.release(first_end)
    assert appender.fits(8)
    assert not appender.fits(9 + journal.data_blocks % 8)


def test_metadata_area_fills_and_is_released_exactly(journal: JournalVolume, append_step: Step) -> None:
    appender = append_step(journal, Position())
    appender.release(Position())
    while appender.fits(0):
        appender.clear(0, 0, 8, Flag.TRIM)
    assert appender.sequence == journal.slot_count
    appender.release(Position(3))
    for _ in range(3):
        assert appender.fits(0)
        appender.clear(0, 0, 8, Flag.ZERO)
    assert not appender.fits(0)


def test_both_areas_wrap_and_the_records_stay_right(journal: JournalVolume, append_step: Step) -> None:
    appender = append_step(journal, Position())
    appender.release(Position())
    ends = [Position()]
    for number in range(3 * journal.slot_count):
        blocks = 1 + number % 5
        if not appender.fits(blocks):
            appender.release(ends[-20])
        data = bytes([number % 256]) * (512 * blocks)
        position = appender.write(number % 3, number, data, blocks)
        found = bytearray(len(data))
        journal.read_into(position, found)
        assert found == data
        ends.append(appender.tail)
    assert appender.data_position > 2 * journal.data_blocks
    tail, _ = scan(journal, ends[-100])
    assert tail == appender.tail


def test_a_page_that_is_begun_is_filled_where_nothing_is_needed(journal: JournalVolume, append_step: Step) -> None:
    """A part of a page that is not in memory would have to be read from the disk first."""
    appender = append_step(journal, Position())
    journal.write_data(0, b"\xff" * journal.data_blocks * 512)
    journal.write_records(0, np.full(journal.slot_count, 1, RECORD_DTYPE))
    appender.release(Position())
    appender.write(0, 0, bytes([1]) * 512 * 3, 3)
    appender.write(0, 0, bytes([2]) * 512 * 8, 8)
    (found,) = journal.data_views(0, 17)
    assert bytes(found) == bytes([1]) * 512 * 3 + bytes([2]) * 512 * 8 + bytes(512 * 5) + b"\xff" * 512
    for _ in range(61):
        appender.clear(0, 0, 8, Flag.TRIM)
    assert journal.records(63, 65)["sequence"].tolist() == [63, 1, 1]
    appender.clear(0, 0, 8, Flag.TRIM)
    assert journal.records(63, 128)["sequence"].tolist() == [63, 64, *[0] * 63, 1]


@pytest.mark.parametrize("missing", [0, 1])
def test_a_page_with_anything_needed_is_not_filled(journal: JournalVolume, append_step: Step, missing: int) -> None:
    """Neither data nor records, nor the newest record that is not needed: it answers who asks what it was."""
    start = Position(journal.slot_count - 1, journal.data_blocks)
    appender = append_step(journal, start)
    journal.write_data(0, b"\xff" * journal.data_blocks * 512)
    journal.write_records(0, np.full(journal.slot_count, 1, RECORD_DTYPE))
    appender.release(Position(64 - missing, 8 - missing))
    appender.write(0, 0, bytes([1]) * 512 * 3, 3)
    (data,) = journal.data_views(0, 8)
    assert bytes(data[3 * 512 :]) == (b"\xff" if missing else b"\0") * 512 * 5
    emptied = journal.records(1, 63)["sequence"].tolist()
    assert emptied == ([1] * 63 if missing else [0] * 63)
    assert journal.records(64, 64)["sequence"][0] == 1


def test_time_never_stands_or_goes_back(journal: JournalVolume, append_step: Step) -> None:
    clock = iter([100, 50, 100, 101, 500])
    appender = append_step(journal, Position(), lambda: next(clock))
    appender.release(Position())
    for _ in range(5):
        appender.clear(0, 0, 8, Flag.TRIM)
    assert journal.records(1, 5)["time_ns"].tolist() == [100, 101, 102, 103, 500]


def test_an_append_that_fails_uses_nothing_up(journal: JournalVolume, append_step: Step) -> None:
    appender = append_step(journal, Position())
    appender.release(Position())
    with pytest.raises(TypeError):
        appender.write(0, 0, "no buffer", 8)  # type: ignore[arg-type]
    assert appender.tail == Position()
    appender.write(0, 0, bytes(512), 1)
    assert appender.sequence == 1


def test_long_writes_are_cut_to_what_a_small_ring_takes(journal: JournalVolume) -> None:
    assert piece_bytes_max(journal) <= journal.data_blocks * 512 // 8
    assert piece_bytes_max(journal) % 4096 == 0


def test_the_compiled_one_writes_what_the_plain_one_writes(tmp_path: Path) -> None:
    chance = random.Random(5)
    steps: list[Step] = [Appender, CompiledAppender]
    journals: list[JournalVolume] = []
    appenders: list[AnyAppender] = []
    for number, step in enumerate(steps):
        path = str(tmp_path / str(number))
        JournalVolume.create(path, 1 << 20, GROUP, 7)
        journals.append(JournalVolume.open(path, writable=True))
        times = iter(range(10, 100000, 3))
        appenders.append(step(journals[-1], Position(400, 2000, 9), lambda times=times: next(times)))
    for _ in range(2000):
        volume, lba, blocks = chance.randrange(64), chance.randrange(1 << 40), chance.randrange(1, 90)
        data = chance.randbytes(blocks * 512)
        what = chance.choice(["write", "write", "clear", "marker", "base", "zeros"])
        for appender in appenders:
            if what == "write":
                appender.write(volume, lba, memoryview(data), blocks)
            elif what == "clear":
                appender.clear(volume, lba, blocks, Flag.ZERO)
            elif what == "base":
                appender.base(volume, lba, memoryview(data), blocks)
            elif what == "zeros":
                appender.base_clear(volume, lba, blocks, Flag.TRIM)
            else:
                appender.marker(data, blocks)
        assert appenders[0].tail == appenders[1].tail
        back = Position(chance.randrange(1, 300), chance.randrange(1, 300))  # how much of the ring is still needed
        for appender in appenders:
            tail = appender.tail
            appender.release(Position(tail.sequence - back.sequence, tail.data_position - back.data_position))
    plain, compiled = journals
    assert plain.all_records().tobytes() == compiled.all_records().tobytes()
    assert plain.data_views(0, plain.data_blocks) == compiled.data_views(0, compiled.data_blocks)
    for appender, journal in zip(appenders, journals, strict=True):
        appender.detach()
        journal.close()
    JournalVolume.open(str(tmp_path / "1"), writable=True).close()  # nothing holds the lock any more


def test_closed_is_closed(journal: JournalVolume) -> None:
    appender = CompiledAppender(journal, Position())
    appender.detach()
    with pytest.raises(ValueError, match="closed"):
        appender.clear(0, 0, 8, Flag.TRIM)
    with pytest.raises(ValueError, match="longer than"):
        appender.write(0, 0, bytes(512), 8)
