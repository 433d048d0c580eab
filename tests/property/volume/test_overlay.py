"""The overlay against a dict of blocks for each segment."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from controller.journal.pointers import Position
from controller.volume import overlay as overlay_module
from controller.volume.overlay import BELOW, ZEROES, Overlay

BLOCKS = 320  # 40 pages
spans = st.tuples(st.integers(0, BLOCKS - 1), st.integers(1, 120)).map(lambda s: (s[0], min(s[1], BLOCKS - s[0])))
page_spans = st.tuples(st.integers(0, 39), st.integers(1, 12)).map(lambda s: (s[0] * 8, min(s[1], 40 - s[0]) * 8))
any_spans = st.one_of(spans, page_spans)


class OverlayMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.overlay = Overlay(1)
        self.models: list[dict[int, int]] = [{}]  # newest first
        self.sequence = 0
        self.position = 0

    @rule(span=any_spans)
    def write(self, span: tuple[int, int]) -> None:
        block, blocks = span
        self.overlay.active.insert(block, blocks, self.position)
        self.models[0].update((block + at, self.position + at) for at in range(blocks))
        self.position += blocks
        self._count()

    @rule(span=any_spans)
    def clear(self, span: tuple[int, int]) -> None:
        block, blocks = span
        self.overlay.active.clear(block, blocks)
        self.models[0].update((block + at, ZEROES) for at in range(blocks))
        self._count()

    @rule()
    def freeze(self) -> None:
        if self.overlay.active.records:
            self.models.insert(0, {})
        self.overlay.freeze(Position(self.sequence, self.position))
        assert self.overlay.frozen == len(self.models) - 1

    @precondition(lambda self: self.overlay.frozen > 0)
    @rule()
    def drop(self) -> None:
        self.overlay.drop_oldest()
        self.models.pop()

    @rule(span=any_spans)
    def locate(self, span: tuple[int, int]) -> None:
        block, blocks = span
        expected = [
            next((model[at] for model in self.models if at in model), BELOW) for at in range(block, block + blocks)
        ]
        found = self.overlay.locate(block, blocks)
        if self.overlay.misses(block, blocks):
            assert found is None
        if found is None:
            assert set(expected) == {BELOW}
            return
        answered: list[int] = []
        for offset, length, position in found:
            assert offset == len(answered), "in order and without gaps"
            answered += [position if position < 0 else position + at for at in range(length)]
        assert answered == expected

    @invariant()
    def sequences_run_on(self) -> None:
        firsts = [segment.first for segment in self.overlay.segments]
        ends = [segment.end.sequence + 1 for segment in self.overlay.segments[1:]]
        assert firsts[:-1] == ends

    def _count(self) -> None:
        self.sequence += 1
        self.overlay.active.records += 1


def test_what_was_there_is_missed_at_no_step_of_a_change() -> None:
    """`misses` is asked without the lock: here before each bytecode of a change, whatever it is."""
    overlay = Overlay(1)
    overlay.active.insert(0, 160, 0)
    _count_one(overlay)
    looks = 0

    def look(frame: FrameType, event: str, argument: object) -> Callable[..., Any] | None:
        nonlocal looks
        if frame.f_code.co_filename != overlay_module.__file__ or frame.f_code.co_name == "misses":
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            looks += 1
            sys.settrace(None)
            assert not any(overlay.misses(page * 8, 8) for page in range(20))
            assert not overlay.misses(0, 320)
            sys.settrace(look)
        return look

    changes = [
        partial(overlay.active.insert, 3, 40, 200),
        partial(overlay.active.clear, 16, 80),  # a range, over fewer pages than there are
        partial(overlay.active.clear, 0, 320),  # and over more
        partial(overlay.active.insert, 8, 8, 300),
        partial(overlay.freeze, Position(1, 400)),
    ]
    before = sys.gettrace()
    try:
        for change in changes:
            sys.settrace(look)
            change()
            sys.settrace(before)
    finally:
        sys.settrace(before)
    assert looks > 100
    assert overlay.frozen


def _count_one(overlay: Overlay) -> None:
    overlay.active.records += 1


@pytest.fixture(autouse=True)
def _short_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlay_module, "RANGE_PAGES_MIN", 3)


def test_the_overlay_is_a_dict_of_blocks_for_each_segment() -> None:
    run_state_machine_as_test(
        OverlayMachine, settings=settings(max_examples=150, stateful_step_count=40, deadline=None)
    )


def test_a_trim_of_four_gibibytes_is_one_entry() -> None:
    overlay = Overlay(1)
    overlay.active.insert(8, 8, 0)
    overlay.active.clear(0, (4 << 30) // 512)
    assert not overlay.active.pages
    assert list(overlay.active.ranges) == [(0, 1 << 20)]
    overlay.active.insert(8, 8, 8)
    assert overlay.locate(0, 24) == [(0, 8, ZEROES), (8, 8, 8), (16, 8, ZEROES)]
