"""Percentiles from buckets against percentiles of every value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostagent.history.report import of_values
from hostagent.history.spread import Spread

VALUES = st.lists(st.one_of(st.just(0.0), st.floats(0.0001, 1e6)), min_size=1, max_size=60)


@given(values=VALUES, share=st.sampled_from([0.5, 0.95, 0.99, 1.0]))
def test_never_too_small_and_at_most_a_tenth_too_large(values: list[float], share: float) -> None:
    spread = Spread(0.001)
    for value in values:
        spread.add(value, 1.0)
    ranked = sorted(values)
    exact = next(value for rank, value in enumerate(ranked, 1) if rank >= share * len(ranked) * (1 - 1e-9))
    found = spread.percentile(share)
    assert found is not None
    assert exact * (1 - 1e-9) <= found <= max(exact * 1.0906, 0.001)
    assert spread.max == max(values)


@given(one=VALUES, other=VALUES)
def test_adding_two_up_is_counting_both(one: list[float], other: list[float]) -> None:
    together, first, second = Spread(0.001), Spread(0.001), Spread(0.001)
    for values, into in ((one, first), (other, second)):
        for value in values:
            into.add(value, 1.0)
            together.add(value, 1.0)
    first.merge(second.weights, second.max)
    assert (first.weights, first.max) == (together.weights, together.max)


def test_of_nothing_there_is_none() -> None:
    assert Spread(1.0).percentile(0.5) is None
    assert of_values([None]) is None


def test_of_single_values_the_nearest_rank() -> None:
    found = of_values([3.0, None, 1.0, 2.0])
    assert found is not None
    assert (found.p50, found.p99, found.max) == (2.0, 3.0, 3.0)


def test_weights_count() -> None:
    spread = Spread(0.001)
    spread.add(0.0, 99.5)
    spread.add(8.0, 0.5)
    assert spread.percentile(0.99) == 0.0
    assert spread.percentile(1.0) == pytest.approx(8.0)
