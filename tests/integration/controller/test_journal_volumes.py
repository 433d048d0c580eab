"""Journals made of several volumes: written round and round, pulled, taken over, moved from and to; deaths."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.api.lifecycle import JournalResize
from controller.api.models import FenceRequest, InitialCopyMethod, PoolAdd, TakeoverRequest, VolumeCreate
from controller.errors import ConflictError, UsageError
from controller.journal.dump import dump
from controller.journal.volume import JournalVolume
from tests.integration.controller.test_crashes import at_every_step
from tests.support.controllers import ControllerProcess, controllers
from tests.support.lifecycle import GROUP, Life, scribble
from tests.support.nbdkit import read_all
from tests.support.pairs import ControllerPair
from tests.support.waiting import wait_until

MIB = 1 << 20
SIZE = 4 * MIB
PARTS = ["one", "two", "three"]
STRIDE = 1 if os.environ.get("PAIRVOL_EVERY_STEP") else 7


@pytest.fixture(scope="module")
def both(session_directory: Path) -> Iterator[list[ControllerProcess]]:
    with controllers(session_directory / "several", "tokyo", "osaka", mortal=True) as made:
        yield made


@pytest.fixture
def life(both: list[ControllerProcess]) -> Iterator[Life]:
    """A pair whose journals are made of three volumes at the one site, of two at the other."""
    tokyo, osaka = both
    tokyo.client.create_volume(VolumeCreate(name="data", size_bytes=SIZE))
    for site in both:
        for name in PARTS:
            site.client.add_to_pool(PoolAdd(name=name, size_bytes=MIB))
    pair = ControllerPair(tokyo, osaka, {"data": SIZE}, pools={"tokyo": PARTS, "osaka": PARTS[1:]})
    yield Life(pair)
    for site in both:
        for group in site.client.groups():
            site.client.delete_group(group.name, force=True)
        for volume in site.client.volumes():
            site.client.delete_volume(volume.name)
        for pool_volume in site.client.pool():
            site.client.remove_from_pool(pool_volume.name)


def load(life: Life, seed: int, rounds: int = 2) -> None:
    """More than the journals hold, confirmed as it goes."""
    for number in range(rounds):
        scribble(life.primary.wait_served("data"), SIZE, 100 * seed + number, writes=60)
        life.catch_up()


def same(life: Life) -> bool:
    return read_all(life.primary.wait_served("data")) == Path(life.secondary.client.volume("data").backing).read_bytes()


def test_round_and_round_restarts_and_moves(life: Life) -> None:
    tokyo, osaka = life.primary, life.secondary
    life.pair.order_initial_copy(InitialCopyMethod.NONE)
    group = tokyo.client.group(GROUP)
    assert group.journal_bytes == 3 * MIB
    assert [segment.member for segment in group.composition.segments] == [0, 1, 2]
    load(life, 1, 6)
    assert life.state(tokyo).pointers["durable"].data_position * 512 > 3 * MIB + MIB // 2
    assert same(life)
    with pytest.raises(ConflictError, match="holds the journal"):
        tokyo.client.remove_from_pool("two")
    for site in (tokyo, osaka):
        site.restart()
    load(life, 2)
    assert same(life)
    osaka.client.resize_journal(GROUP, JournalResize(size_bytes=4 * MIB))
    tokyo.client.resize_journal(GROUP, JournalResize(size_bytes=4 * MIB))
    load(life, 3)
    for name in PARTS:
        tokyo.client.remove_from_pool(name)
    with pytest.raises(UsageError, match="twice"):
        osaka.client.resize_journal(GROUP, JournalResize(journal_volumes=["one", "one"]))
    osaka.client.resize_journal(GROUP, JournalResize(journal_volumes=["three", "one"]))
    osaka.client.resize_journal(GROUP, JournalResize(journal_volumes=["three", "one"]))
    load(life, 4)
    assert same(life)
    assert osaka.client.group(GROUP).journal_bytes == 2 * MIB


def test_a_tail_that_stays_behind_keeps_its_volumes(life: Life) -> None:
    tokyo, osaka = life.primary, life.secondary
    life.pair.order_initial_copy(InitialCopyMethod.NONE)
    load(life, 5, 1)
    life.pair.follow(lease_seconds=0.05)
    wait_until(lambda: not life.state(osaka).copy_order_active, 10, "the order to copy to lapse")
    scribble(tokyo.wait_served("data"), SIZE, 6, writes=20)  # never copied
    osaka.client.take_over(GROUP, TakeoverRequest(generation=2, force=True))
    tokyo.client.fence(GROUP, FenceRequest(generation=2, reason="taken over"))
    result = life.swap_roles()
    assert result.orphan is not None
    assert result.orphan.members == PARTS
    assert len(list(dump(result.orphan.path, result.orphan.first_sequence, result.orphan.last_sequence))) > 10
    life.promote()
    life.join()
    load(life, 7, 1)
    assert same(life)
    with pytest.raises(ConflictError, match="holds the journal"):
        tokyo.client.remove_from_pool("one")
    tokyo.client.drop_orphan(GROUP, result.orphan.name)
    tokyo.client.remove_from_pool("one")


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.parametrize("at", ["tokyo", "osaka"])
def test_a_move_between_one_and_several_cut_short_at_any_step(life: Life, at: str) -> None:
    tokyo, osaka = life.primary, life.secondary
    life.pair.order_initial_copy(InitialCopyMethod.NONE)
    load(life, 8, 1)
    victim, dice = (tokyo, osaka)[at == "osaka"], random.Random(1)
    orders = [JournalResize(size_bytes=3 * MIB + 512), JournalResize(journal_volumes=["one", "three"])]

    def command() -> None:
        victim.client.resize_journal(GROUP, orders[0])

    def check() -> None:
        group = victim.client.group(GROUP)
        assert JournalVolume.header_of(group.journal_path).journal_uuid == group.composition.journal_uuid
        wait_until(lambda: tokyo.client.group(GROUP).links is not None, 20, "the journal server to be back")
        load(life, dice.randrange(1 << 20), 1)
        assert same(life)

    def back() -> None:
        if victim.client.group(GROUP).journal_bytes == (orders[0].size_bytes or 2 * MIB):
            orders.reverse()

    hit = at_every_step(victim, command, check, back, stride=STRIDE)
    check()
    assert hit >= 1
