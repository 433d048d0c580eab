"""How an initial copy by journals, and a differential copy beside it, come to their end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from controller.api.models import CopyState, InitialCopyMethod, InitialCopyOrder
from controller.copy.progress import Progress, load, store
from tests.unit.copy.parts import Primary


@pytest.fixture
def order(tmp_path: Path) -> InitialCopyOrder:
    primary = Primary(tmp_path / "primary", 1 << 20, {0: 1 << 20})
    source = primary.source()
    primary.close()
    return InitialCopyOrder(source=source, method=InitialCopyMethod.BASE)


def differential(base: Progress) -> Progress:
    """What begins when changed regions are to be copied in the middle of it."""
    assert base.order is not None
    order = base.order.model_copy(update={"method": InitialCopyMethod.DIFFERENTIAL})
    return Progress(state=CopyState.RUNNING, order=order, run=base.run, run_bytes=base.run_bytes)


def test_it_is_done_where_the_run_ended(order: InitialCopyOrder) -> None:
    begun = Progress().begin(order)
    assert begun.waits_for_run
    assert not begun.copies
    passed = begun.passed(512, None)
    assert (passed.state, passed.run_bytes) == (CopyState.RUNNING, 512)
    done = passed.passed(1024, 77)
    assert (done.state, done.consistent_sequence, done.waits_for_run) == (CopyState.DONE, 77, False)
    assert done.whole_sequence == 77


def test_two_orders_never_wait_for_the_same_run(order: InitialCopyOrder) -> None:
    assert Progress().begin(order).run != Progress().begin(order).run


@pytest.mark.parametrize("run_first", [True, False])
def test_a_differential_copy_beside_it_has_to_end_too(order: InitialCopyOrder, run_first: bool) -> None:
    both = differential(Progress().begin(order))
    assert both.waits_for_run
    assert both.copies
    if run_first:
        half = both.passed(1024, 50)
        assert (half.state, half.copies, half.waits_for_run) == (CopyState.RUNNING, True, False)
        done = half.complete(60)
    else:
        half = both.complete(60)
        assert (half.state, half.copies, half.waits_for_run) == (CopyState.RUNNING, False, True)
        assert half.consistent_sequence is None
        done = half.passed(1024, 50)
    assert (done.state, done.consistent_sequence) == (CopyState.DONE, 60)


def test_all_of_it_is_found_again(order: InitialCopyOrder, tmp_path: Path) -> None:
    for progress in (
        Progress().begin(order).passed(512, None),
        differential(Progress().begin(order)).complete(60),
        differential(Progress().begin(order)).passed(1024, 50),
    ):
        store(tmp_path / "copy.json", progress)
        assert load(tmp_path / "copy.json") == progress


@pytest.mark.parametrize("method", [InitialCopyMethod.BASE, InitialCopyMethod.NONE, InitialCopyMethod.DIRECT])
def test_an_order_for_all_volumes_after_a_differential_copy_asks_for_nothing(
    order: InitialCopyOrder, method: InitialCopyMethod
) -> None:
    """The pair's own way of copying is told again as long as the copy runs; it must not begin anew."""
    running = replace(differential(Progress().begin(order)), run=None)
    assert running.same_source(order.model_copy(update={"method": method}))
