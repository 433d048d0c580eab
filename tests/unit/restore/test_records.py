"""The compiled check of records against the plain one: as many are right for both, whatever a record says."""

from __future__ import annotations

import platform
from itertools import combinations, product
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.journal._hot import right_records
from controller.journal.layout import DATA_BYTES_MAX, MARKER_BYTES_MAX, RECORD_DTYPE, Records, pack_record
from controller.journal.pointers import Position
from controller.restore import verify
from controller.restore.verify import VOLUMES_MAX, Expectation, check_records, no_records, quickly_right

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the compiled check knows no other processor; the plain one does all there"
)

AFTER = Position(7, 100)
EXPECTED = Expectation(tag=5, generation_min=2, generation_max=3, volume_blocks={0: 1 << 20, 63: 64, 5: 0})
DATA_BLOCKS_MAX, MARKER_BLOCKS_MAX = DATA_BYTES_MAX // 512, MARKER_BYTES_MAX // 512
GOOD: tuple[dict[str, int], ...] = (
    {},
    {"kind": 2, "volume": 63, "block_count": 64, "data_blocks": 64, "generation": 3},
    {"kind": 3, "block_count": 0, "data_blocks": 1},
    {"flags": 1, "data_blocks": 0, "volume_lba": (1 << 20) - 8},
    {"flags": 2, "data_blocks": 0, "block_count": 1 << 20},
    {"flags": 3, "data_blocks": 0, "volume": 5, "block_count": 0},
    {"block_count": DATA_BLOCKS_MAX, "data_blocks": DATA_BLOCKS_MAX},
    {"kind": 3, "block_count": 0, "data_blocks": MARKER_BLOCKS_MAX, "volume": 64},
)
EDGES = {
    "sequence": (0, 1, 1 << 63, (1 << 64) - 1),
    "volume_lba": (0, 1, 63, 64, 65, 1 << 20, (1 << 20) - 1, 1 << 31, 1 << 63, (1 << 64) - 1),
    "data_position": (0, 99, 100, 101, 1 << 63, (1 << 64) - 1),
    "block_count": (0, 1, 8, 63, 64, 65, 128, 129, 1 << 16, (1 << 16) + 1, 1 << 20, 1 << 31, (1 << 32) - 1),
    "data_blocks": (0, 1, 8, 63, 64, 65, 128, 129, 1 << 16, (1 << 16) + 1, 1 << 31, (1 << 32) - 1),
    "volume": (0, 1, 5, 62, 63, 64, 65, 65535),
    "kind": (0, 1, 2, 3, 4, 255),
    "flags": (0, 1, 2, 3, 4, 128, 255),
    "generation": (0, 1, 2, 3, 4, (1 << 32) - 1),
    "tag": (0, 5, 6),
}


def run_of(*records: dict[str, int], after: Position = AFTER) -> Records:
    """Records that follow one another, with what each says of itself."""
    raw, sequence, position = b"", after.sequence, after.data_position
    for said in records:
        sequence += 1
        fields = {
            "sequence": sequence, "time_ns": 1, "volume_lba": 0, "data_position": position, "block_count": 8,
            "data_blocks": 8, "volume": 0, "kind": 1, "flags": 0, "generation": 2, "data_crc": 9, "tag": 5,
        } | said  # fmt: skip
        raw += pack_record(**fields)
        position += fields["data_blocks"]
    return np.frombuffer(raw, RECORD_DTYPE)


def plainly_right(records: Records, after: Position = AFTER) -> int:
    with patch.object(verify, "right_records", no_records):
        return check_records(records, after, EXPECTED)[0]


def test_all_that_may_be_there_is_right() -> None:
    run = run_of(*GOOD)
    assert quickly_right(run, AFTER, EXPECTED) == plainly_right(run) == len(GOOD)
    assert quickly_right(run[:0], AFTER, EXPECTED) == 0


@pytest.mark.parametrize("at", range(4))
def test_both_find_as_many_right(at: int) -> None:
    """Any two words of a record at their edges."""
    for one, other in combinations(EDGES, 2):
        for first, second in product(EDGES[one], EDGES[other]):
            run = run_of(GOOD[at] | {one: first, other: second})
            assert quickly_right(run, AFTER, EXPECTED) == plainly_right(run), run


@given(bit=st.integers(0, len(GOOD) * 512 - 1))
def test_any_flipped_bit_ends_the_right_ones(bit: int) -> None:
    raw = bytearray(run_of(*GOOD).tobytes())
    raw[bit // 8] ^= 1 << bit % 8
    run = np.frombuffer(raw, RECORD_DTYPE)
    assert quickly_right(run, AFTER, EXPECTED) == plainly_right(run) == bit // 512


@pytest.mark.parametrize("after", [Position((1 << 64) - 3, 0), Position(0, (1 << 64) - 9), Position()])
def test_numbers_at_their_ends(after: Position) -> None:
    """Sequences and positions that no journal comes to: what is one behind the greatest is the least, for both."""
    wide: list[Any] = [{}, {}]
    run = run_of(*wide, after=after)
    assert quickly_right(run, after, EXPECTED) == plainly_right(run, after) == 2


def test_what_are_no_whole_records_is_refused() -> None:
    limits = np.full(VOLUMES_MAX + 1, -1, np.int64)
    with pytest.raises(ValueError, match="not whole records"):
        right_records(np.zeros(65, np.uint8).view(), 1, 0, 5, 2, 3, limits)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not whole records"):
        right_records(run_of({}), 1, 0, 5, 2, 3, limits[1:])


def test_records_that_do_not_lie_side_by_side_are_looked_at_all_the_same() -> None:
    run = np.repeat(run_of(*GOOD), 2)[::2]
    assert not run.flags.c_contiguous
    assert quickly_right(run, AFTER, EXPECTED) == len(GOOD)
