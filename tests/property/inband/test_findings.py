"""Lists of ranges against sets of bytes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.api.runs import Found
from controller.inband import findings

UNIT = findings.GAP_BYTES
ranges = st.tuples(st.integers(0, 1), st.integers(0, 60), st.integers(1, 20)).map(
    lambda r: Found(r[0], r[1] * UNIT, r[2] * UNIT, 1)
)
lists = st.lists(ranges, max_size=12).map(lambda each: findings.joined([], each))


def units(found: list[Found]) -> set[tuple[int, int]]:
    return {(each.volume, at // UNIT) for each in found for at in range(each.offset, each.offset + each.length, UNIT)}


@settings(deadline=None)
@given(lists, ranges)
def test_without_and_within_cut_a_list_in_two(found: list[Found], cut: Found) -> None:
    place = (cut.volume, cut.offset, cut.length)
    outside, inside = findings.without(found, *place), findings.within(found, *place)
    assert units(outside) == units(found) - units([cut])
    assert units(inside) == units(found) & units([cut])
    assert findings.bytes_of(outside) + findings.bytes_of(inside) == findings.bytes_of(found)


@settings(deadline=None)
@given(lists, lists)
def test_joined_is_the_union_sorted_and_disjoint(first: list[Found], second: list[Found]) -> None:
    both = findings.joined(first, second)
    assert units(both) == units(first) | units(second)
    assert both == sorted(both)
    assert len(units(both)) * UNIT == findings.bytes_of(both)


@settings(deadline=None)
@given(st.sets(st.integers(0, 5000), min_size=findings.FOUND_MAX, max_size=400))
def test_a_long_list_names_more_and_never_less(places: set[int]) -> None:
    found = [Found(0, 2 * place * UNIT, UNIT, 1) for place in sorted(places)]
    short = findings.joined([], found)
    assert len(short) <= findings.FOUND_MAX
    assert units(short) >= units(found)
