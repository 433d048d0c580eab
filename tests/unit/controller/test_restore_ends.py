"""Where restore stands: behind a journal, a marker, before a later time; and for how long."""

from __future__ import annotations

import numpy as np
import pytest

from controller.errors import ConflictError
from controller.journal.layout import RECORD_DTYPE, Kind, Records
from controller.journal.pointers import Position
from controller.restore.ends import End, RestoreEnd

NAMES = {4: "noon", 6: "noon"}


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def records(first: int, count: int) -> Records:
    """Journal n of time 10 * n; 4 and 6 are markers."""
    made = np.zeros(count, dtype=RECORD_DTYPE)
    made["sequence"] = np.arange(first, first + count)
    made["time_ns"] = 10 * made["sequence"]
    made["kind"] = [Kind.MARKER if first + at in NAMES else Kind.UPDATE for at in range(count)]
    return made


def content(record: np.void) -> dict[str, object]:
    return {"what": "named", "name": NAMES[int(record["sequence"])]}


@pytest.mark.parametrize(
    ("end", "passable", "found"),
    [
        (End(sequence=5), 5, 5),
        (End(sequence=12), 8, 12),
        (End(marker="noon"), 4, 4),
        (End(marker="later"), 8, None),
        (End(time_ns=55), 5, 5),
        (End(time_ns=50), 5, 5),
        (End(time_ns=5), 0, 0),
        (End(time_ns=80), 8, None),
    ],
)
def test_what_may_pass(end: End, passable: int, found: int | None) -> None:
    stand = RestoreEnd(Clock())
    stand.set(end, 10.0)
    assert stand.passable(records(1, 8), content) == passable
    assert stand.found == found
    assert stand.passable(records(1, 3), content) == min(passable, 3)


def test_the_next_marker_of_a_name_counts_from_the_order_on() -> None:
    stand = RestoreEnd(Clock())
    stand.set(End(marker="noon"), 10.0)
    assert stand.passable(records(5, 4), content) == 2
    assert stand.found == 6
    assert stand.passable(records(7, 4), content) == 0


def test_what_is_behind_is_refused_unless_restore_stands_there() -> None:
    stand = RestoreEnd(Clock())
    for end in (End(sequence=4), End(time_ns=49)):
        with pytest.raises(ConflictError, match="journal 5 is restored already"):
            stand.order(end, 10.0, Position(5, 0, 50))
    stand.order(End(sequence=5), 10.0, Position(5, 0, 50))
    stand.order(End(time_ns=50), 10.0, Position(5, 0, 50))
    stand.order(None, 10.0, Position(5, 0, 50))


def test_it_lasts_while_it_is_renewed_and_another_begins_anew() -> None:
    clock = Clock()
    stand = RestoreEnd(clock)
    assert stand.seconds_left() is None
    stand.set(End(marker="noon"), 10.0)
    stand.passable(records(1, 8), content)
    changes = stand.changes
    clock.now += 9
    stand.set(End(marker="noon"), 10.0)
    assert (stand.changes, stand.found) == (changes, 4)
    clock.now += 9
    assert stand.seconds_left() == pytest.approx(1.0)
    clock.now += 2
    assert stand.found is None
    assert stand.passable(records(1, 8), content) == 8
    stand.set(End(sequence=7), 10.0)
    assert stand.changes == changes + 1
    assert stand.passable(records(1, 8), content) == 7
    stand.set(None, 0.0)
    assert stand.changes == changes + 2
    assert stand.passable(records(1, 8), content) == 8
