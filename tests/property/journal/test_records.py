"""Pack and unpack agree, and any flipped bit of a record is found, one by one and in bulk."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from controller.journal.layout import RECORD_BYTES, RECORD_DTYPE, pack_record, records_valid

FIELDS = {
    "sequence": 64, "time_ns": 64, "volume_lba": 64, "data_position": 64, "block_count": 32, "data_blocks": 32,
    "volume": 16, "kind": 8, "flags": 8, "generation": 32, "data_crc": 32, "tag": 32,
}  # fmt: skip
values = st.fixed_dictionaries({name: st.integers(0, 2**bits - 1) for name, bits in FIELDS.items()})


@given(values)
def test_fields_come_back(fields: dict[str, int]) -> None:
    record = np.frombuffer(pack_record(**fields), RECORD_DTYPE)
    assert records_valid(record).all()
    for name, value in fields.items():
        assert record[0]["group_tag" if name == "tag" else name] == value


@given(values)
def test_any_flipped_bit_is_found(fields: dict[str, int]) -> None:
    raw = np.frombuffer(pack_record(**fields), np.uint8)
    flipped = np.tile(raw, (RECORD_BYTES * 8 + 1, 1))
    for bit in range(RECORD_BYTES * 8):
        flipped[bit, bit // 8] ^= 1 << bit % 8
    valid = records_valid(flipped.view(RECORD_DTYPE).reshape(-1))
    assert valid[-1]
    assert not valid[:-1].any()
    assert [bool(records_valid(row.view(RECORD_DTYPE))[0]) for row in flipped[::37]] == valid[::37].tolist()
