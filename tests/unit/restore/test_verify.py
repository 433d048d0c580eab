"""Any flipped bit is found, and no record after a bad one is called good."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.errors import UsageError
from controller.journal.layout import (
    BLOCK_BYTES,
    MARKER_BYTES_MAX,
    RECORD_BYTES,
    RECORD_DTYPE,
    Flag,
    Kind,
    pack_record,
)
from controller.journal.markers import MarkerKind, pack_marker
from controller.journal.pointers import Position
from controller.restore.verify import Expectation, check_data, check_records
from tests.unit.copy.parts import Primary, block

COUNT = 12


@pytest.fixture(scope="module")
def primary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Primary]:
    primary = Primary(tmp_path_factory.mktemp("verify") / "journal", 2 << 20, {0: 1 << 20, 63: 1 << 20})
    for number in range(COUNT):
        if number % 5 == 4:
            primary.clear(63, number, 9, Flag.TRIM)
        elif number % 5 == 3:
            primary.note(MarkerKind.NAMED, name=f"n{number}")
        else:
            primary.write(0, number, block(number, 1 + number % 3))
    yield primary
    primary.close()


def expectation(primary: Primary) -> Expectation:
    return Expectation(primary.tag, 1, 1, {0: 2048, 63: 2048})


def test_good_records_pass(primary: Primary) -> None:
    records = primary.journal.records(1, COUNT)
    assert check_records(records, Position(), expectation(primary)) == (COUNT, "")
    assert check_data(primary.journal, records) == (COUNT, "")
    assert check_records(records[:0], Position(), expectation(primary)) == (0, "")
    assert check_data(primary.journal, records[:0]) == (0, "")


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bit=st.integers(0, COUNT * RECORD_BYTES * 8 - 1))
def test_any_flipped_bit_of_a_record_is_found(primary: Primary, bit: int) -> None:
    raw = bytearray(primary.journal.records(1, COUNT).tobytes())
    raw[bit // 8] ^= 1 << bit % 8
    good, damage = check_records(np.frombuffer(raw, RECORD_DTYPE), Position(), expectation(primary))
    bad = bit // 8 // RECORD_BYTES
    assert good == bad
    assert damage == f"record {bad + 1} fails its checksum"


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_flipped_bit_of_data_is_found(primary: Primary, data: st.DataObject) -> None:
    records = primary.journal.records(1, COUNT)
    number = data.draw(st.sampled_from([int(n) for n in records["sequence"][records["data_blocks"] > 0]]))
    record = records[number - 1]
    view = primary.journal.data_views(int(record["data_position"]), int(record["data_blocks"]))[0]
    bit = data.draw(st.integers(0, len(view) * 8 - 1))
    view[bit // 8] ^= 1 << bit % 8
    try:
        good, damage = check_data(primary.journal, records)
    finally:
        view[bit // 8] ^= 1 << bit % 8
    assert (good, damage) == (number - 1, f"the data of record {number} fails its checksum")


def test_data_around_the_end_of_the_area(tmp_path: Path) -> None:
    primary = Primary(tmp_path / "journal", 1 << 20, {0: 1 << 20})
    while primary.end.data_position + 100 <= primary.journal.data_blocks:
        primary.write(0, 0, block(primary.end.sequence, 100))
    assert primary.end.data_position % 100 == 0 != primary.journal.data_blocks % 100
    first, after = primary.end.sequence + 1, primary.end
    for number in range(4):
        primary.write(0, 0, block(number, 100))
    records = primary.journal.records(first, primary.end.sequence)
    expected = Expectation(primary.tag, 1, 1, {0: 2048})
    assert check_records(records, after, expected) == (4, "")
    assert check_data(primary.journal, records) == (4, "")
    for spoiled in range(4):
        primary.spoil_data(first + spoiled)
        assert check_data(primary.journal, records)[0] == spoiled
        primary.spoil_data(first + spoiled)
    primary.close()


@pytest.mark.parametrize(
    ("kind", "blocks", "good"),
    [
        (Kind.MARKER, 128, True),
        (Kind.MARKER, 129, False),
        (Kind.MARKER, 1 << 21, False),
        (Kind.UPDATE, 1 << 16, True),
        (Kind.UPDATE, (1 << 16) + 1, False),
        (Kind.BASE, (1 << 16) + 1, False),
    ],
)
def test_a_record_with_more_data_than_its_kind_may_have_is_refused(kind: Kind, blocks: int, good: bool) -> None:
    on_volume = 0 if kind is Kind.MARKER else blocks
    made = pack_record(
        sequence=1, time_ns=1, volume_lba=0, data_position=0, block_count=on_volume, data_blocks=blocks,
        volume=0, kind=kind, flags=0, generation=1, data_crc=0, tag=7,
    )  # fmt: skip
    found, damage = check_records(np.frombuffer(made, RECORD_DTYPE), Position(), Expectation(7, 1, 1, {0: 1 << 20}))
    words = f"record 1 has {blocks} blocks of data, more than one of its kind may have"
    assert (found, damage) == ((1, "") if good else (0, words))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"no JSON",
        b"[" * 60000,
        b'{"what": "named", "name": ' + b"[" * 60000,
        b'{"what": "named", "name": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"what": []}',
        b'{"what": {}, "name": "n"}',
        b'{"what": 7}',
        b'{"name": "n"}',
        b'["what"]',
        b'"what"',
        b"\xff\xfe",
    ],
)
def test_a_marker_that_does_not_say_what_it_is_is_named_and_what_came_before_is_kept(
    tmp_path: Path, payload: bytes
) -> None:
    primary = Primary(tmp_path / "journal", 2 << 20, {0: 1 << 20})
    primary.write(0, 0, block(1))
    primary.note(MarkerKind.NAMED, name="good")
    primary.marker(payload.ljust(-(-len(payload) // BLOCK_BYTES) * BLOCK_BYTES, b"\0"))
    primary.note(MarkerKind.NAMED, name="never seen")
    records = primary.journal.records(1, 4)
    assert check_records(records, Position(), Expectation(primary.tag, 1, 1, {0: 2048})) == (4, "")
    assert check_data(primary.journal, records) == (2, "record 3 is a marker whose data cannot be read as one")
    primary.close()


def test_no_marker_is_made_that_no_reader_takes() -> None:
    assert len(pack_marker(MarkerKind.NAMED, name="n" * (MARKER_BYTES_MAX - 100))) <= MARKER_BYTES_MAX
    with pytest.raises(UsageError, match="longer than 65536"):
        pack_marker(MarkerKind.NAMED, name="n" * MARKER_BYTES_MAX)
