"""The dead primary's journal is read as it was left, also across the wrap, and nothing in it is changed."""

from __future__ import annotations

import time
from pathlib import Path

import crc32c
import pytest

from controller.journal.layout import BLOCK_BYTES, Kind, group_tag, pack_record
from controller.journal.volume import JournalVolume
from hostagent.cli.demo.tail import apply_tail, read_tail
from hostagent.cli.demo.workload import make_record

RUN = "run"
GROUP = "6a0f2c0e-7a44-4a1e-9f8e-0d7b7e6b1c11"
NOW_NS = 1_790_000_000_000_000_000
FILLER = b"\xaa" * BLOCK_BYTES


def append(path: Path, payloads: list[bytes]) -> None:
    """Journals 1.. with these data, a millisecond apart."""
    journal = JournalVolume.open(str(path), writable=True)
    position = 0
    for sequence, data in enumerate(payloads, start=1):
        blocks = len(data) // BLOCK_BYTES
        journal.write_data(position, data)
        record = pack_record(
            sequence=sequence,
            time_ns=NOW_NS + sequence * 1_000_000,
            volume_lba=sequence * 8,
            data_position=position,
            block_count=blocks,
            data_blocks=blocks,
            volume=0,
            kind=Kind.UPDATE,
            flags=0,
            generation=1,
            data_crc=crc32c.crc32c(data),
            tag=group_tag(GROUP),
        )
        journal.write_record(sequence, record)
        position += blocks
    journal.close()


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    path = tmp_path / "journal"
    JournalVolume.create(str(path), 1 << 20, GROUP, 1)
    return path


def payload(number: int) -> bytes:
    """A write that begins and ends with something else than the record in it."""
    return FILLER + make_record(RUN, number) + FILLER * (number % 3)


def test_tail_begins_after_the_recovery_point_and_counts_what_was_written(journal: Path) -> None:
    append(journal, [payload(number) for number in range(1, 31)])
    tail = read_tail(journal, 20, NOW_NS + 20_000_000)
    assert tail.journals == 10
    assert (tail.restored.sequence, tail.end.sequence) == (20, 30)
    assert tail.seconds == pytest.approx(0.01)
    assert tail.written_bytes == sum(len(payload(number)) for number in range(21, 31))


def test_tail_across_the_wrap_of_the_data_area(journal: Path) -> None:
    with_wrap = [payload(number) for number in range(1, 400)]
    assert sum(map(len, with_wrap)) > 1 << 20
    append(journal, with_wrap)
    assert read_tail(journal, 250, 0).end.sequence == 399


def test_nothing_after_the_recovery_point(journal: Path) -> None:
    append(journal, [payload(1)])
    tail = read_tail(journal, 1, NOW_NS)
    assert (tail.journals, tail.seconds, tail.written_bytes) == (0, 0.0, 0)


def test_a_damaged_journal_ends_the_tail(journal: Path) -> None:
    append(journal, [payload(number) for number in range(1, 31)])
    volume = JournalVolume.open(str(journal), writable=True)
    position = int(volume.records(26, 26)[0]["data_position"])
    volume.write_data(position, bytes(BLOCK_BYTES))
    volume.close()
    assert read_tail(journal, 20, 0).end.sequence == 25


def test_reading_changes_nothing(journal: Path) -> None:
    append(journal, [payload(number) for number in range(1, 31)])
    before = journal.read_bytes()
    read_tail(journal, 3, time.time_ns())
    assert journal.read_bytes() == before


def test_the_recovery_point_and_the_tail_are_the_whole(journal: Path, tmp_path: Path) -> None:
    payloads = [payload(number) for number in range(1, 31)]
    append(journal, payloads)
    whole, image = tmp_path / "whole", tmp_path / "image"
    for path, count in ((whole, 30), (image, 20)):
        with path.open("wb") as file:
            file.truncate(1 << 20)
            for sequence, data in enumerate(payloads[:count], start=1):
                file.seek(sequence * 8 * BLOCK_BYTES)
                file.write(data)
    apply_tail(journal, read_tail(journal, 20, 0), image)
    assert image.read_bytes() == whole.read_bytes()
    apply_tail(journal, read_tail(journal, 30, 0), image)
    assert image.read_bytes() == whole.read_bytes()
