"""Sizes, durations and times as people write and read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import units
from controller.errors import UsageError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4096", 4096),
        ("10G", 10 << 30),
        ("10g", 10 << 30),
        ("512MiB", 512 << 20),
        ("512 MiB", 512 << 20),
        ("1.5T", 3 << 39),
        ("10GB", 10 * 1000**3),
        ("1B", 1),
    ],
)
def test_sizes(text: str, expected: int) -> None:
    assert units.parse_size(text) == expected


@pytest.mark.parametrize("text", ["", "G", "-1G", "10 Q", "1e9", "0x10", "10GiBs"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a size"):
        units.parse_size(text)


@given(st.integers(min_value=0, max_value=1 << 60))
def test_every_size_in_bytes_is_exact(count: int) -> None:
    assert units.parse_size(str(count)) == count


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0 B"), (512, "512 B"), (1153434, "1.1 MiB"), (8 << 30, "8 GiB"), ((1 << 20) - 1, "1 MiB")],
)
def test_sizes_are_printed_short(count: int, expected: str) -> None:
    assert units.format_size(count) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.2, "0.2 s"), (42, "42 s"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (273600, "3 d 4 h")],
)
def test_durations_are_printed_short(seconds: float, expected: str) -> None:
    assert units.format_duration(seconds) == expected


def test_times() -> None:
    assert units.parse_time("1970-01-01T00:00:01Z") == 10**9
    assert units.parse_time("1970-01-01T02:00:01.5+02:00") == 1_500_000_000
    assert units.parse_time("-15m", now_ns=10**12) == 10**12 - 900 * 10**9
    assert units.format_time(1_500_000_000) == "1970-01-01T00:00:01.500Z"


@pytest.mark.parametrize("text", ["yesterday", "-soon", "2026-13-01T00:00:00Z"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a"):
        units.parse_time(text)


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(UsageError, match="has no zone") as caught:
        units.parse_time("2026-09-20T10:15:03")
    assert "2026-09-20T10:15:03Z" in caught.value.hint


@given(st.integers(min_value=0, max_value=4 * 10**12))
def test_a_printed_time_is_read_back(milliseconds: int) -> None:
    time_ns = milliseconds * 1_000_000
    assert units.parse_time(units.format_time(time_ns)) == time_ns


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 open drills"), (1, "1 open drill"), (2, "2 open drills"), (1234, "1234 open drills")]
)
def test_words_are_counted(number: int, words: str) -> None:
    assert units.counted(number, "open drill") == words
