"""The ring against a plain list: whatever a cut leaves, recovery takes exactly the right prefix."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import crc32c
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.errors import IntegrityError
from controller.journal.layout import Kind, group_tag, pack_record
from controller.journal.pointers import Position
from controller.journal.recovery import recover, scan
from controller.journal.volume import JournalVolume

GROUP = str(uuid.UUID(int=7))
TAG = group_tag(GROUP)


@contextmanager
def small_journal() -> Iterator[JournalVolume]:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "journal")
        JournalVolume.create(path, 1 << 20, GROUP, 1)
        journal = JournalVolume.open(path, writable=True)
        yield journal
        journal.close()


def append(journal: JournalVolume, after: Position, blocks: int, seed: int) -> Position:
    data = bytes([seed % 256]) * (blocks * 512)
    journal.write_data(after.data_position, data)
    record = pack_record(
        sequence=after.sequence + 1, time_ns=after.sequence + 1, volume_lba=0, data_position=after.data_position,
        block_count=blocks, data_blocks=blocks, volume=0, kind=Kind.UPDATE, flags=0, generation=1,
        data_crc=crc32c.crc32c(data) if blocks else 0, tag=TAG,
    )  # fmt: skip
    journal.write_record(after.sequence + 1, record)
    return Position(after.sequence + 1, after.data_position + blocks, after.sequence + 1)


@settings(max_examples=60, deadline=None)
@given(
    laps=st.lists(st.lists(st.integers(0, 200), min_size=1, max_size=30), min_size=1, max_size=8),
    cut=st.integers(0, 400),
    what=st.sampled_from(["record", "data", "nothing"]),
    bit=st.integers(0, 511),
)
def test_recovery_takes_the_longest_right_prefix(laps: list[list[int]], cut: int, what: str, bit: int) -> None:
    with small_journal() as journal:
        after = tail = Position()
        live: list[Position] = []
        for lap in laps:  # each lap is purged before the next, so the ring wraps many times
            after, live = tail, []
            for number, blocks in enumerate(lap):
                if tail.data_position + blocks - after.data_position > journal.data_blocks:
                    break
                tail = append(journal, tail, blocks, number)
                live.append(tail)
        expected = tail
        if live and what != "nothing":
            index = cut % len(live)
            before = live[index - 1] if index else after
            blocks = live[index].data_position - before.data_position
            if what == "record" or blocks:
                expected = before
                damage(journal, before, what, bit)
        assert scan(journal, after)[0] == expected
        assert recover(journal, after, Position()) == expected
        assert not (journal.all_records()["sequence"] > expected.sequence).any()
        if expected != tail:  # a write after recovery is never followed by a record from before it
            again = append(journal, expected, 1, 255)
            assert scan(journal, after)[0] == again


def damage(journal: JournalVolume, before: Position, what: str, bit: int) -> None:
    if what == "record":
        record = bytearray(journal.records(before.sequence + 1, before.sequence + 1).tobytes())
        record[bit // 8] ^= 1 << bit % 8
        journal.write_record(before.sequence + 1, bytes(record))
    else:
        sector = bytearray(journal.data_views(before.data_position, 1)[0])
        sector[bit] ^= 0xFF
        journal.write_data(before.data_position, sector)


@pytest.mark.parametrize("what", ["record", "data"])
def test_damage_below_the_durable_hint_stops_and_changes_nothing(what: str) -> None:
    with small_journal() as journal:
        tail = Position()
        for number in range(10):
            tail = append(journal, tail, 8, number)
        damage(journal, Position(4, 32, 4), what, 100)
        before = journal.all_records().tobytes()
        with pytest.raises(IntegrityError, match="sequence 5"):
            recover(journal, Position(), tail)
        assert journal.all_records().tobytes() == before


def test_a_full_metadata_area_ends_where_it_began() -> None:
    with small_journal() as journal:
        tail = Position()
        for _ in range(journal.slot_count):
            tail = append(journal, tail, 0, 0)
        assert scan(journal, Position())[0] == tail
