"""The compiled check of data against the plain one: it may stop early, and never go too far."""

from __future__ import annotations

import platform
import random

import numpy as np
import pytest

from controller.checksum import crc32c
from controller.journal._hot import right_sums

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the compiled check knows no other processor; the plain one does all there"
)


def ranges(chance: random.Random, lengths: list[int]) -> tuple[bytearray, list[int], list[int]]:
    """Data of these lengths one behind the other: the data, where each begins, and its checksum."""
    data = bytearray(chance.randbytes(sum(lengths)))
    starts = [sum(lengths[:at]) for at in range(len(lengths))]
    sums = [crc32c(bytes(data[start : start + length])) for start, length in zip(starts, lengths, strict=True)]
    return data, starts, sums


def found(data: bytes | bytearray | memoryview, starts: list[int], lengths: list[int], sums: list[int]) -> int:
    return right_sums(data, np.array(starts, np.int64), np.array(lengths, np.int64), np.array(sums, np.uint32))


@pytest.mark.parametrize("seed", range(20))
def test_every_right_one_is_counted_and_the_first_wrong_one_ends_it(seed: int) -> None:
    chance = random.Random(seed)
    lengths = [chance.choice([0, 512, 512, 4096, 4096, 4096, 130048]) for _ in range(chance.randrange(1, 40))]
    data, starts, sums = ranges(chance, lengths)
    assert found(data, starts, lengths, sums) == len(lengths)
    wrong = chance.randrange(len(lengths))
    if lengths[wrong]:
        data[starts[wrong] + chance.randrange(lengths[wrong])] ^= 1 << chance.randrange(8)
    else:
        sums[wrong] ^= 1
    assert found(data, starts, lengths, sums) == wrong


@pytest.mark.parametrize("cut", [1, 4095, 4096, 4097, 3 * 4096])
def test_what_does_not_lie_within_the_data_is_not_counted(cut: int) -> None:
    data, starts, sums = ranges(random.Random(7), [4096] * 8)
    assert found(memoryview(data)[:-cut], starts, [4096] * 8, sums) == 8 - -(-cut // 4096)


@pytest.mark.parametrize("start", [-1, -4096, 4097, 1 << 62])
def test_a_place_outside_is_not_read(start: int) -> None:
    assert found(bytes(4096), [0, start], [0, 512], [0, crc32c(bytes(512))]) == 1


@pytest.mark.parametrize("length", [-1, -512, 1 << 62])
def test_a_length_that_is_none_is_not_read(length: int) -> None:
    assert found(bytes(4096), [0, 0], [512, length], [crc32c(bytes(512)), 0]) == 1


def test_a_length_of_odd_bytes_is_left_to_others() -> None:
    assert found(bytes(4096), [0], [7], [crc32c(bytes(7))]) == 0


def test_as_many_of_each() -> None:
    with pytest.raises(ValueError, match="as many"):
        found(bytes(4096), [0, 512], [512], [0, 0])
