"""Leases, limits, and who is refused."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from controller.api.models import CopySource
from controller.copy import activity
from controller.copy.activity import TRANSITIONS, Activity, Happening, after
from controller.copy.orders import CopyOrders
from controller.errors import ConflictError
from tests.unit.copy.parts import GROUP, Primary, follow, once


@pytest.fixture
def source(tmp_path: Path) -> CopySource:
    primary = Primary(tmp_path, 1 << 20, {0: 4096})
    primary.close()
    return primary.source()


def test_follow_ends_with_its_lease_and_renewal_extends_it(source: CopySource) -> None:
    orders = CopyOrders(GROUP, 1)
    assert orders.active(0) is None
    assert orders.accept(follow(source, 10), 100)
    assert orders.active(109.9) is not None
    assert orders.active(110) is None
    assert not orders.accept(follow(source, 10), 105)
    assert orders.active(114.9) is not None
    assert orders.active(115) is None


def test_renewal_is_not_explicit_and_a_changed_source_is(source: CopySource) -> None:
    orders = CopyOrders(GROUP, 1)
    orders.accept(follow(source), 0)
    assert not orders.accept(follow(source), 1)
    links = source.links.model_copy(update={"journal_uri": "nbd://127.0.0.1:9/journal"})
    assert orders.accept(follow(source.model_copy(update={"links": links})), 2)
    assert orders.accept(once(source), 3)


def test_once_within_follow_does_not_end_it(source: CopySource) -> None:
    orders = CopyOrders(GROUP, 1)
    orders.accept(follow(source, 10), 0)
    assert orders.accept(once(source, 5), 1)
    assert orders.limit is None
    active = orders.active(2)
    assert active is not None
    assert active.mode == "follow"


def test_once_holds_while_it_moves(source: CopySource) -> None:
    orders = CopyOrders(GROUP, 1)
    orders.accept(once(source, 5), 0)
    assert orders.limit == 5
    orders.progressed(15)
    assert orders.active(34) is not None
    assert orders.active(35) is None
    orders.accept(once(source, 5), 40)
    orders.end()
    assert orders.active(41) is None


def test_follow_is_not_prolonged_by_progress(source: CopySource) -> None:
    orders = CopyOrders(GROUP, 1)
    orders.accept(follow(source, 10), 0)
    orders.progressed(9)
    assert orders.active(10) is None


@pytest.mark.parametrize("generation", [1, 3])
def test_other_generation_is_refused(source: CopySource, generation: int) -> None:
    orders = CopyOrders(GROUP, 2)
    with pytest.raises(ConflictError, match=f"generation {generation}"):
        orders.accept(follow(source.model_copy(update={"generation": generation})), 0)
    assert orders.active(0) is None


def test_other_group_is_refused(source: CopySource) -> None:
    orders = CopyOrders("3b241101-e2bb-4255-8caf-4136c566a962", 1)
    with pytest.raises(ConflictError, match="is for group"):
        orders.accept(follow(source), 0)


def test_every_state_is_reached_and_can_be_halted() -> None:
    reached = {Activity.IDLE}
    while True:
        more = reached | {TRANSITIONS[pair] for pair in product(reached, Happening) if pair in TRANSITIONS}
        if more == reached:
            break
        reached = more
    assert reached == set(Activity)
    assert {after(state, Happening.HALT) for state in Activity} == {Activity.HALTED}


def test_a_failed_thread_waits_for_an_explicit_order() -> None:
    assert after(Activity.FAILED, Happening.ORDERED) is Activity.FAILED
    assert after(Activity.FAILED, Happening.EXPLICIT) is Activity.RUNNING
    with pytest.raises(KeyError):
        after(Activity.FAILED, Happening.LINK_BACK)


def test_table_in_the_docstring_is_the_table() -> None:
    text = activity.__doc__ or ""
    rows = [
        [cell.strip().replace(" ", "_") for cell in line.split("|")[1:4]]
        for line in text.splitlines()[2:]
        if line[:1] == "|"
    ]
    told = {}
    for states, events, then in rows[2:]:
        if states != "any":
            for state, event in product(states.split(",_"), events.split(",_")):
                told[Activity(state), Happening(event)] = Activity(then)
    assert told
    assert all(TRANSITIONS[pair] is then for pair, then in told.items())
    moves = {pair for pair, then in TRANSITIONS.items() if then is not pair[0] and pair[1] is not Happening.HALT}
    assert moves <= set(told)
