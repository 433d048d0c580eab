"""Volumes join a living group and leave it: the others are written on, the order holds, deaths are settled.

With PAIRVOL_EVERY_STEP set, every step of each command is died at.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.api.lifecycle import MembersJoin, MembersLeave
from controller.api.models import FenceRequest, GroupVolume, InitialCopyMethod, TakeoverRequest, VolumeCreate
from controller.errors import CapacityError, ConflictError
from tests.integration.controller.test_crashes import at_every_step
from tests.support.controllers import ControllerProcess, controllers
from tests.support.lifecycle import GROUP, Life, scribble
from tests.support.nbdkit import connected, read_all
from tests.support.pairs import ControllerPair
from tests.support.stamps import StampLog, check_order
from tests.support.waiting import wait_until
from tests.support.writers import StampedWriter

MIB = 1 << 20
SIZE = 4 * MIB
JOURNAL = 16 * MIB
STRIDE = 1 if os.environ.get("PAIRVOL_EVERY_STEP") else 5


@pytest.fixture(scope="module")
def both(session_directory: Path) -> Iterator[list[ControllerProcess]]:
    with controllers(session_directory / "members", "tokyo", "osaka", mortal=True) as made:
        yield made


@pytest.fixture
def life(both: list[ControllerProcess]) -> Iterator[Life]:
    """A pair of the one volume `data`, in step."""
    tokyo, osaka = both
    tokyo.client.create_volume(VolumeCreate(name="data", size_bytes=SIZE))
    made = Life(ControllerPair(tokyo, osaka, {"data": SIZE}, JOURNAL))
    made.pair.order_initial_copy(InitialCopyMethod.NONE)
    made.catch_up()
    yield made
    for site in both:
        for group in site.client.groups():
            site.client.delete_group(group.name, force=True)
        for volume in site.client.volumes():
            site.client.delete_volume(volume.name)


def member(index: int, name: str) -> MembersJoin:
    return MembersJoin(volumes=[GroupVolume(index=index, name=name, size_bytes=SIZE)])


def add(life: Life, index: int, name: str) -> None:
    """Both sides, the secondary first; then the copy of what joined."""
    life.secondary.client.join_volumes(GROUP, member(index, name))
    life.primary.client.join_volumes(GROUP, member(index, name))
    life.order_resync()
    life.pair.follow()


def take_out(life: Life, name: str) -> int:
    """Both sides, the primary first; the number that the volume had."""
    index = next(volume.index for volume in life.primary.client.group(GROUP).volumes if volume.name == name)
    sequence = life.primary.client.leave_volumes(GROUP, MembersLeave(volumes=[name])).retired[index]
    life.pair.follow()
    life.pair.wait_restored(sequence)
    life.secondary.client.leave_volumes(GROUP, MembersLeave(volumes=[name], sequence=sequence))
    life.pair.follow()
    return index


def store(site: ControllerProcess, name: str) -> Path:
    return Path(site.client.volume(name).backing)


def same(life: Life, name: str) -> bool:
    return read_all(life.primary.wait_served(name)) == store(life.secondary, name).read_bytes()


def test_a_volume_joins_and_leaves_under_load(life: Life) -> None:
    tokyo, osaka = life.primary, life.secondary
    tokyo.client.create_volume(VolumeCreate(name="log", size_bytes=SIZE))
    log, server = StampLog(), tokyo.server_pid("v-data")
    with StampedWriter(tokyo.wait_served("log"), 1, log, 7):  # what it holds before it joins
        wait_more(log, 50)
    data = StampedWriter(tokyo.wait_served("data"), 0, log, 1, pause_seconds=0.01)
    with data:
        wait_more(log, 50)
        add(life, 1, "log")
        logged = StampedWriter(tokyo.wait_served("log"), 1, log, 2, pause_seconds=0.01)
        with logged:
            wait_more(log, 100)
            life.end_resync(life.primary.client.regions(GROUP).epoch)
            wait_more(log, 100)
        life.pair.wait_restored()
        life.pair.confirm()
        stores = {index: store(osaka, name) for index, name in enumerate(("data", "log"))}
        with pytest.raises(ConflictError, match="client"), connected(tokyo.wait_served("log")):
            take_out(life, "log")
        assert same(life, "log")
        assert take_out(life, "log") == 1
        wait_more(log, 50)
    assert [data.breaks, logged.breaks] == [0, 0]
    assert tokyo.server_pid("v-data") == server, "the host of the other volume was disconnected"
    life.pair.wait_restored()
    report = check_order(stores, log.writes, acknowledged_up_to_ns=log.writes[-1].settled_ns + 1)
    assert report.clean, report
    assert read_all(osaka.wait_served("log")) == read_all(tokyo.wait_served("log"))
    assert same(life, "data")
    assert 1 not in [volume.index for volume in tokyo.client.group(GROUP).volumes]
    assert tokyo.client.group(GROUP).free_indices[0] == 2


def wait_more(log: StampLog, count: int) -> None:
    target = log.acknowledged() + count
    wait_until(lambda: log.acknowledged() >= target, 30, f"{count} more acknowledged writes")


def test_the_volume_whose_server_it_is_leaves_and_comes_back(life: Life) -> None:
    tokyo, osaka = life.primary, life.secondary
    tokyo.client.create_volume(VolumeCreate(name="log", size_bytes=SIZE))
    add(life, 1, "log")
    life.end_resync(tokyo.client.regions(GROUP).epoch)
    with connected(tokyo.wait_served("log")) as handle:
        take_out(life, "data")
        handle.pwrite(b"x" * 512, 0)  # served by the process that has the other volume's name
        handle.flush()
    assert tokyo.wait_served("data") != tokyo.wait_served("log")
    tokyo.restart()
    osaka.restart()
    scribble(tokyo.wait_served("data"), SIZE, 6)
    scribble(tokyo.wait_served("log"), SIZE, 7)
    osaka.client.delete_volume("data")
    with pytest.raises(ConflictError, match="number 1: that number is taken"):
        tokyo.client.join_volumes(GROUP, member(1, "data"))
    wrong = MembersJoin(volumes=[GroupVolume(index=2, name="data", size_bytes=2 * SIZE)])
    with pytest.raises(CapacityError, match="bytes, the pair needs"):
        tokyo.client.join_volumes(GROUP, wrong)
    life.pair.follow()
    add(life, 2, "data")
    with pytest.raises(ConflictError, match="changed regions"):
        tokyo.client.leave_volumes(GROUP, MembersLeave(volumes=["log"]))
    life.end_resync(tokyo.client.regions(GROUP).epoch)
    scribble(tokyo.wait_served("data"), SIZE, 8)
    life.catch_up()
    assert same(life, "data")
    assert same(life, "log")
    with pytest.raises(ConflictError, match="it would be empty"):
        tokyo.client.leave_volumes(GROUP, MembersLeave(volumes=["log", "data"]))


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.parametrize("at", ["tokyo", "osaka"])
def test_joining_and_leaving_cut_short_at_any_step(life: Life, at: str) -> None:
    tokyo, osaka = life.primary, life.secondary
    tokyo.client.create_volume(VolumeCreate(name="log", size_bytes=SIZE))
    victim = tokyo if at == "tokyo" else osaka
    dice = random.Random(3)

    def write(name: str) -> None:
        scribble(tokyo.wait_served(name), SIZE, dice.randrange(1 << 30), writes=10)

    def number() -> int:
        """The one that both sides still have free, or that the volume has at the side where it joined already."""
        for site in (osaka, tokyo):
            for volume in site.client.group(GROUP).volumes:
                if volume.name == "log":
                    return volume.index
        free = set(tokyo.client.group(GROUP).free_indices)
        return next(index for index in osaka.client.group(GROUP).free_indices if index in free)

    def join() -> None:
        index = number()
        osaka.client.join_volumes(GROUP, member(index, "log"))
        tokyo.client.join_volumes(GROUP, member(index, "log"))

    def in_step() -> None:
        if tokyo.client.state(GROUP).epoch is not None:
            epoch = life.order_resync().epoch
            life.pair.follow()
            life.end_resync(epoch)
        write("data")
        write("log")
        life.catch_up()
        assert same(life, "data")
        assert same(life, "log")

    def joined() -> None:
        join()
        in_step()

    def out() -> None:
        take_out(life, "log")

    def alone() -> None:
        if "log" in [volume.name for site in (tokyo, osaka) for volume in site.client.group(GROUP).volumes]:
            life.pair.follow()
            finish_leaving(life)
        write("data")
        life.catch_up()
        assert same(life, "data")
        assert read_all(tokyo.wait_served("log")) == read_all(osaka.wait_served("log"))

    assert at_every_step(victim, join, joined, out, stride=STRIDE) >= 1
    in_step()
    assert at_every_step(victim, out, alone, joined, stride=STRIDE) >= 1
    alone()


def finish_leaving(life: Life) -> None:
    """The command again, from whatever a death has left of it."""
    group = life.primary.client.group(GROUP)
    if any(volume.name == "log" for volume in group.volumes):
        take_out(life, "log")
        return
    index = next(volume.index for volume in life.secondary.client.group(GROUP).volumes if volume.name == "log")
    life.pair.wait_restored(group.retired[index])
    order = MembersLeave(volumes=["log"], sequence=group.retired[index])
    life.secondary.client.leave_volumes(GROUP, order)
    life.pair.follow()


def test_a_takeover_before_what_joined_is_copied_and_both_in_step_again(life: Life) -> None:
    """The other volumes are as they were; what joined is empty there, and becomes that everywhere."""
    tokyo, osaka = life.primary, life.secondary
    tokyo.client.create_volume(VolumeCreate(name="log", size_bytes=SIZE))
    scribble(tokyo.wait_served("log"), SIZE, 20)
    scribble(tokyo.wait_served("data"), SIZE, 21)
    life.catch_up()
    osaka.client.join_volumes(GROUP, member(1, "log"))
    tokyo.client.join_volumes(GROUP, member(1, "log"))
    before = read_all(tokyo.wait_served("data"))
    life.pair.follow()
    scribble(tokyo.wait_served("log"), SIZE, 22, writes=10)  # behind the marker: not restored before the copy
    osaka.client.take_over(GROUP, TakeoverRequest(generation=2, force=True))
    assert read_all(osaka.wait_served("data")) == before
    assert not any(read_all(osaka.wait_served("log")))
    scribble(osaka.wait_served("log"), SIZE, 23, writes=10)
    tokyo.client.fence(GROUP, FenceRequest(generation=2, reason="taken over"))
    life.swap_roles()
    life.promote()
    life.join()
    for name in ("data", "log"):
        assert same(life, name)
