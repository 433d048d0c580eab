"""The bandwidth limit of one group, under a clock that the test moves."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.copy.bucket import BURST_SECONDS, STEP_BYTES_MIN, STEP_SECONDS, Bucket, Lane
from controller.copy.window import BLOCKS_FIRST, Window
from controller.journal.layout import BLOCK_BYTES

MIB = 1 << 20


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bucket(clock: Clock) -> Bucket:
    return Bucket(clock)


def test_without_a_limit_nothing_waits(bucket: Bucket) -> None:
    for _ in range(10):
        assert bucket.wait_seconds(Lane.COPY) == 0
        bucket.moves(1 << 40)
    assert bucket.step_bytes(1 << 40) == 1 << 40
    assert bucket.poll_seconds(4096) == 0
    assert not bucket.holds_back


@given(
    limit=st.integers(64 << 10, 1 << 30),
    jobs=st.lists(st.tuples(st.sampled_from(Lane), st.floats(0, 2), st.integers(0, 64 * MIB)), max_size=200),
)
def test_no_more_moves_in_any_time_than_the_limit_allows(limit: int, jobs: list[tuple[Lane, float, int]]) -> None:
    clock = Clock()
    bucket = Bucket(clock)
    bucket.change(limit)
    moved: list[tuple[float, int]] = []
    for lane, rest, wanted in jobs:
        clock.seconds += rest
        if not bucket.wait_seconds(lane):
            count = bucket.step_bytes(wanted)
            bucket.moves(count)
            moved.append((clock.seconds, count))
    step = bucket.step_bytes(1 << 40)
    for first in range(len(moved)):
        total = 0
        for seconds, count in moved[first:]:
            total += count
            assert total <= limit * (seconds - moved[first][0] + BURST_SECONDS) + step + 1


def test_who_waits_as_long_as_it_is_told_moves_what_the_limit_allows(bucket: Bucket, clock: Clock) -> None:
    bucket.change(MIB)
    began, moved = clock.seconds, 0
    while clock.seconds < began + 100:
        pause = bucket.wait_seconds(Lane.COPY)
        if pause:
            clock.seconds += pause
            continue
        bucket.moves(bucket.step_bytes(16 * MIB))
        moved += bucket.step_bytes(16 * MIB)
    assert 99 * MIB <= moved <= 102 * MIB


def test_what_did_not_move_is_given_back(bucket: Bucket, clock: Clock) -> None:
    bucket.change(MIB)
    clock.seconds += 1
    bucket.moves(8 * MIB)
    bucket.moves(-8 * MIB)
    assert bucket.wait_seconds(Lane.JOURNALS) == 0


def test_two_that_want_it_take_turns(bucket: Bucket, clock: Clock) -> None:
    bucket.change(MIB)
    served: list[Lane] = []
    asks_at = dict.fromkeys(Lane, clock.seconds)
    while len(served) < 20:
        lane = min(Lane, key=lambda each: asks_at[each])
        clock.seconds = max(clock.seconds, asks_at[lane])
        pause = bucket.wait_seconds(lane)
        asks_at[lane] = clock.seconds + pause
        if not pause:
            served.append(lane)
            bucket.moves(bucket.step_bytes(16 * MIB))
    assert all(one is not other for one, other in pairwise(served[1:]))


def test_another_limit_counts_at_once(bucket: Bucket, clock: Clock) -> None:
    assert bucket.change(64 << 10)
    assert not bucket.change(64 << 10)
    clock.seconds += 1
    bucket.moves(64 * MIB)
    assert bucket.wait_seconds(Lane.COPY) > 100
    assert bucket.holds_back
    bucket.change(MIB)
    assert bucket.wait_seconds(Lane.COPY) <= STEP_SECONDS + 0.01
    bucket.change(None)
    assert bucket.wait_seconds(Lane.COPY) == 0
    assert not bucket.holds_back


def test_windows_are_no_longer_than_a_step(bucket: Bucket) -> None:
    window = Window(bucket)
    assert window.blocks == BLOCKS_FIRST
    bucket.change(64 << 10)
    assert window.blocks == STEP_BYTES_MIN // BLOCK_BYTES
    bucket.change(None)
    assert window.blocks == BLOCKS_FIRST
