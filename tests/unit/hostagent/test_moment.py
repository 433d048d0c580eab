"""What may be written after `--at`."""

from __future__ import annotations

import pytest

from controller.errors import UsageError
from hostagent.drills.moment import parse_moment

NOW_NS = 1_795_353_066_000_000_000


def test_the_forms_of_a_moment() -> None:
    assert parse_moment("4711", NOW_NS).sequence == 4711
    assert parse_moment("before-upgrade", NOW_NS).marker == "before-upgrade"
    assert parse_moment("v1.2", NOW_NS).marker == "v1.2"
    assert parse_moment("+30s", NOW_NS).time_ns == NOW_NS + 30_000_000_000
    assert parse_moment("-15m", NOW_NS).time_ns == NOW_NS - 900_000_000_000
    assert parse_moment("2026-09-20T10:15:03Z", NOW_NS).time_ns == 1_789_899_303_000_000_000
    assert parse_moment("2026-09-20T12:15:03.5+02:00", NOW_NS).time_ns == 1_789_899_303_500_000_000


@pytest.mark.parametrize("text", ["2026-09-20T10:15:03", "2026-13-20T10:15:03Z", "../x", "a b", "-15", "+x"])
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(UsageError):
        parse_moment(text, NOW_NS)
