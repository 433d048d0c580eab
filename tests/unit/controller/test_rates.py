"""Rates and the forecast of a full journal, on a clock of the test's."""

from __future__ import annotations

from typing import Any

from controller.groups.rates import Rates
from controller.journal.pointers import Pointer, Position

CAPACITY = {"records_capacity": 100_000, "data_capacity_bytes": 512_000}


def used(records: int, data: int) -> dict[str, Any]:
    return {"records_used": records, "data_used_bytes": data, **CAPACITY}


def test_a_steady_fill_is_foreseen_and_a_journal_that_is_freed_is_not() -> None:
    now = 0.0
    rates = Rates(lambda: now)
    for second in range(120):
        now = float(second)
        found = rates.note("g", {Pointer.JOURNAL_IN: Position(second * 10, second * 2)}, used(second, second * 1024))
    assert abs(found["append_records_per_second"] - 10) < 0.01
    assert abs(found["append_bytes_per_second"] - 1024) < 1
    assert abs(found["seconds_to_full"] - (512_000 - 119 * 1024) / 1024) < 2
    for second in range(120, 200):
        now = float(second)
        found = rates.note("g", {Pointer.JOURNAL_IN: Position(second * 10, second * 2)}, used(5, 5000))
    assert found["seconds_to_full"] is None or found["seconds_to_full"] > 86400
    assert abs(found["append_records_per_second"] - 10) < 0.01


def test_asking_twice_at_once_and_another_life_change_nothing_wrongly() -> None:
    now = 0.0
    rates = Rates(lambda: now)
    rates.note("g", {Pointer.JOURNAL_IN: Position(0, 0)}, used(0, 0))
    now = 1.0
    first = rates.note("g", {Pointer.JOURNAL_IN: Position(50, 8)}, used(1, 0))
    assert rates.note("g", {Pointer.JOURNAL_IN: Position(90, 8)}, used(1, 0)) == first
    now = 2.0
    again = rates.note("g", {Pointer.JOURNAL_IN: Position(10, 1)}, used(0, 0))
    assert (again["append_records_per_second"], again["seconds_to_full"]) == (0.0, None)
