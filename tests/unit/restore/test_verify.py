"""Any flipped bit is found, and no record after a bad one is called good."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.journal.layout import RECORD_BYTES, RECORD_DTYPE, Flag
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
            primary.marker(block(number))
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
