"""Copies that begin while journals from before them wait to be restored: what was written without a journal stays.

Such a write is in no later journal. Older journals of the same place must not
come over it after the copy brought it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.api.lifecycle import SplitOrder
from controller.api.models import (
    AcquisitionOrder,
    InitialCopyMethod,
    InitialCopyOrder,
    RestoreMode,
    SplitMode,
    VolumeCreate,
)
from tests.support.controllers import ControllerProcess
from tests.support.lifecycle import GROUP, Life
from tests.support.nbdkit import connected, read_all
from tests.support.pairs import ControllerPair
from tests.support.waiting import wait_until

SIZE = 8 << 20
MIB = 1 << 20
BLOCK = 4096


@pytest.fixture
def life(tokyo_and_osaka: list[ControllerProcess]) -> Life:
    tokyo, osaka = tokyo_and_osaka
    tokyo.client.create_volume(VolumeCreate(name="data", size_bytes=SIZE))
    return Life(ControllerPair(tokyo, osaka, {"data": SIZE}, 4 * MIB))


def write(controller: ControllerProcess, number: int, offset: int = 0) -> None:
    with connected(controller.wait_served("data")) as handle:
        handle.pwrite(bytes([number]) * BLOCK, offset)
        handle.flush()


def read_but_not_restored(life: Life) -> None:
    life.pair.follow(RestoreMode.LATER)
    wanted = life.pair.durable()
    wait_until(
        lambda: life.state(life.secondary).pointers["already_read"].sequence >= wanted, what="journals to be read"
    )
    life.pair.confirm()


def equal(life: Life) -> None:
    here = read_all(life.primary.wait_served("data"))
    there = Path(life.secondary.client.volume("data").backing).read_bytes()
    assert [here[0], there[0]] == [here[0]] * 2, "an older journal came over the copy"
    assert here == there


def resynced(life: Life) -> None:
    """By a resync whose copy ends before restore is told to go on."""
    changed = life.order_resync()
    wait_until(lambda: not life.state(life.secondary).initial_copy.pending, what="the copy to begin")
    life.pair.wait_copied()
    life.pair.follow()
    life.end_resync(changed.epoch)
    life.catch_up()
    equal(life)


@pytest.mark.parametrize("suspensions", [1, 2])
def test_behind_own_changes(life: Life, suspensions: int) -> None:
    """The secondary was written to, so nothing is restored before the copy of changed regions is ordered."""
    life.begin()
    life.secondary.client.split(GROUP, SplitOrder(mode=SplitMode.WRITE))
    write(life.secondary, 99, 3 * MIB)
    for number in range(suspensions):
        write(life.primary, 10 * number + 1)
        write(life.primary, 10 * number + 2, 5 * MIB)
        life.primary.client.suspend(GROUP)
        write(life.primary, 10 * number + 3)
        read_but_not_restored(life)
        life.primary.client.resume(GROUP)
    read_but_not_restored(life)
    life.secondary.client.split(GROUP, SplitOrder(mode=SplitMode.OFF))
    resynced(life)


def test_behind_an_earlier_suspension(life: Life) -> None:
    """Two suspensions, and only the second one's copy: restore stands before the first marker."""
    life.begin()
    for number in (1, 11):
        write(life.primary, number)
        read_but_not_restored(life)
        life.primary.client.suspend(GROUP)
        write(life.primary, number + 1)
        life.primary.client.resume(GROUP)
    read_but_not_restored(life)
    resynced(life)


def test_a_whole_copy_behind_a_gap(life: Life) -> None:
    """Acquisition was off for a while: the copy that follows brings what was written then."""
    life.begin()
    life.pair.follow(RestoreMode.LATER)
    write(life.primary, 1)
    read_but_not_restored(life)
    tokyo = life.primary.client
    tokyo.set_acquisition(GROUP, AcquisitionOrder(on=False))
    write(life.primary, 2)
    gap = tokyo.set_acquisition(GROUP, AcquisitionOrder(on=True)).gap_sequence
    order = InitialCopyOrder(source=life.pair.source(), method=InitialCopyMethod.DIRECT, gap_sequence=gap)
    life.secondary.client.order_initial_copy(GROUP, order)
    life.pair.wait_copied()
    life.catch_up()
    equal(life)
