"""Page ranges against a plain set."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from controller.volume.ranges import PageRanges

spans = st.tuples(st.integers(0, 60), st.integers(1, 20))


@given(added=st.lists(spans, max_size=20), asked=spans)
def test_ranges_are_a_set_of_pages(added: list[tuple[int, int]], asked: tuple[int, int]) -> None:
    ranges, model = PageRanges(), set[int]()
    for start, length in added:
        ranges.add(start, start + length)
        model |= set(range(start, start + length))
    assert {page for page in range(90) if page in ranges} == model
    assert ranges.meets(asked[0], sum(asked)) == bool(model & set(range(asked[0], sum(asked))))
    kept = list(ranges)
    assert all(start < end for start, end in kept)
    assert all(left[1] < right[0] for left, right in pairwise(kept)), "disjoint, none touching"
