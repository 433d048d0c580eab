"""How the size of a copy request follows the link."""

from __future__ import annotations

from controller.copy.window import BLOCKS_FIRST, BLOCKS_MAX, BLOCKS_MIN, RECORDS_MAX, RECORDS_MIN, Window


def test_a_fast_link_is_asked_for_more_and_a_slow_one_for_less() -> None:
    window = Window()
    assert window.blocks == BLOCKS_FIRST
    for _ in range(10):
        window.arrived(0.01, right=True)
    assert (window.blocks, window.records) == (BLOCKS_MAX, RECORDS_MAX)
    for _ in range(20):
        window.arrived(5.0, right=True)
    assert (window.blocks, window.records) == (BLOCKS_MIN, RECORDS_MIN)
    window.arrived(0.5, right=True)  # about right
    assert window.blocks == BLOCKS_MIN


def test_what_is_spoiled_or_broken_off_makes_it_smaller() -> None:
    window = Window()
    window.broke()
    assert window.blocks == BLOCKS_FIRST // 2
    window.arrived(0.01, right=False)
    assert window.blocks == BLOCKS_FIRST // 8
    for _ in range(20):
        window.broke()
    assert window.blocks == BLOCKS_MIN
