"""A controller killed after every step of every command: the next start finishes it or takes it back.

Each test runs one command again and again, killed one step later each time,
until it comes through. What is printed at the end says how many steps were
hit; a suite that hit none would prove nothing.
"""

from __future__ import annotations

import os
import random
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from controller.api.models import GroupCreate, GroupVolume, InitialCopyMethod, Role, TakeoverRequest, VolumeCreate
from controller.errors import ConflictError, NotFoundError, PeerError
from tests.support.controllers import ControllerProcess, controllers
from tests.support.nbdkit import connected, read_all
from tests.support.pairs import ControllerPair
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.crash, pytest.mark.slow]

SIZE = 4 << 20
JOURNAL = 4 << 20
STEPS_MAX = 60
THIN = 1 if os.environ.get("PAIRVOL_EVERY_STEP") else 2


@pytest.fixture
def mortal(directory: Path) -> Iterator[ControllerProcess]:
    with controllers(directory, "tokyo", mortal=True) as (one,):
        yield one


@pytest.fixture
def mortal_pair(directory: Path) -> Iterator[list[ControllerProcess]]:
    with controllers(directory, "tokyo", "osaka", mortal=True) as both:
        yield both


def at_every_step(
    victim: ControllerProcess,
    command: Callable[[], object],
    check: Callable[[], None],
    back: Callable[[], None],
    stride: int = 1,
) -> int:
    """Kill the victim at step 1, 2, ... of the command; after each restart `check`, then `back` to before it.

    Returns how many steps it was killed at. A `stride` leaves steps out, where
    a like test has hit them, and THIN every other one.
    """
    for deaths, step in enumerate(range(1, STEPS_MAX, stride * THIN)):
        victim.die_at(step)
        try:
            command()
        except PeerError:
            victim.wait_died()
        else:
            victim.live_on()
            print(f"died at {deaths} of {step - 1} steps")
            return deaths
        victim.start()
        wait_until(victim.settled, what=f"commands cut at step {step} to be settled")
        check()
        back()
    raise AssertionError(f"the command has not come through in {STEPS_MAX} steps")


def delete_group(controller: ControllerProcess) -> None:
    try:
        controller.client.delete_group("db")
    except NotFoundError:
        pass


def test_volume_creation(mortal: ControllerProcess) -> None:
    request = VolumeCreate(name="data", size_bytes=SIZE)

    def check() -> None:
        there = [volume.name for volume in mortal.client.volumes()]
        files = [path.name for path in (mortal.state_directory / "volumes").iterdir()]
        assert files == [f"{name}.img" for name in there]

    def back() -> None:
        for volume in mortal.client.volumes():
            mortal.client.delete_volume(volume.name)

    assert at_every_step(mortal, lambda: mortal.client.create_volume(request), check, back) >= 4 // THIN


def test_volume_deletion(mortal: ControllerProcess) -> None:
    def make() -> None:
        if not mortal.client.volumes():
            mortal.client.create_volume(VolumeCreate(name="data", size_bytes=SIZE))

    def check() -> None:
        there = [volume.name for volume in mortal.client.volumes()]
        assert [path.name for path in (mortal.state_directory / "volumes").iterdir()] == [f"{n}.img" for n in there]

    make()
    assert at_every_step(mortal, lambda: mortal.client.delete_volume("data"), check, make) >= 3 // THIN


@pytest.mark.parametrize("count", [1, 2])
def test_primary_creation(mortal: ControllerProcess, count: int) -> None:
    names = [f"v{number}" for number in range(count)]
    for name in names:
        mortal.client.create_volume(VolumeCreate(name=name, size_bytes=SIZE))
    members = [GroupVolume(index=index, name=name, size_bytes=SIZE) for index, name in enumerate(names)]
    request = GroupCreate(
        name="db",
        uuid=str(uuid.uuid4()),
        role=Role.PRIMARY,
        peer_site="osaka",
        volumes=members,
        journal_bytes=JOURNAL,
    )
    dice = random.Random(count)
    written: dict[tuple[str, int], bytes] = {}

    def write_and_read() -> None:
        for name in names:
            uri = mortal.wait_served(name)
            with connected(uri) as handle:
                offset = dice.randrange(SIZE // 512) * 512
                written[name, offset] = dice.randbytes(512)
                handle.pwrite(written[name, offset], offset)
                handle.flush()
            content = read_all(uri)
            for (volume, at), data in written.items():
                assert volume != name or content[at : at + 512] == data

    def check() -> None:
        write_and_read()
        if mortal.client.groups():
            state = mortal.client.state("db", after=count - 1, wait=20)
            assert state.pointers["durable"].sequence == count

    write_and_read()
    hit = at_every_step(
        mortal, lambda: mortal.client.create_group(request), check, lambda: delete_group(mortal), stride=count
    )
    assert hit >= 8 // THIN


@pytest.mark.parametrize("count", [1, 2])
def test_primary_deletion(mortal: ControllerProcess, count: int) -> None:
    names = [f"v{number}" for number in range(count)]
    for name in names:
        mortal.client.create_volume(VolumeCreate(name=name, size_bytes=SIZE))
    members = [GroupVolume(index=index, name=name, size_bytes=SIZE) for index, name in enumerate(names)]
    request = GroupCreate(
        name="db",
        uuid=str(uuid.uuid4()),
        role=Role.PRIMARY,
        peer_site="osaka",
        volumes=members,
        journal_bytes=JOURNAL,
    )
    expected = {name: bytearray(SIZE) for name in names}
    dice = random.Random(count)

    def make() -> None:
        mortal.client.create_group(request)
        for name in names:
            with connected(mortal.wait_served(name)) as handle:
                offset = dice.randrange(SIZE // 512) * 512
                expected[name][offset : offset + 512] = data = dice.randbytes(512)
                handle.pwrite(data, offset)

    def check() -> None:
        for name in names:
            assert read_all(mortal.wait_served(name)) == expected[name]

    make()
    again = partial(make_again, make, mortal)
    hit = at_every_step(mortal, lambda: mortal.client.delete_group("db"), check, again, stride=count)
    check()
    assert hit >= 5 // THIN


def make_again(make: Callable[[], None], controller: ControllerProcess) -> None:
    delete_group(controller)
    make()


def test_secondary_creation(mortal: ControllerProcess) -> None:
    mortal.client.create_volume(VolumeCreate(name="old", size_bytes=SIZE))
    members = [GroupVolume(index=i, name=name, size_bytes=SIZE) for i, name in enumerate(("old", "new"))]
    request = GroupCreate(
        name="db",
        uuid=str(uuid.uuid4()),
        role=Role.SECONDARY,
        peer_site="tokyo",
        volumes=members,
        journal_bytes=JOURNAL,
    )

    def check() -> None:
        names = [volume.name for volume in mortal.client.volumes()]
        if mortal.client.groups():
            assert names == ["new", "old"]
            assert mortal.client.state("db").failure is None
        else:
            assert names == ["old"]
            assert len(read_all(mortal.wait_served("old"))) == SIZE

    def back() -> None:
        delete_group(mortal)
        if len(mortal.client.volumes()) == 2:
            mortal.client.delete_volume("new")

    assert at_every_step(mortal, lambda: mortal.client.create_group(request), check, back, stride=2) >= 5 // THIN


def test_takeover(mortal_pair: list[ControllerProcess]) -> None:
    tokyo, osaka = mortal_pair
    tokyo.client.create_volume(VolumeCreate(name="data", size_bytes=SIZE))
    dice = random.Random(3)

    def make() -> None:
        pair = ControllerPair(tokyo, osaka, {"data": SIZE}, JOURNAL)
        pair.order_initial_copy(InitialCopyMethod.NONE)  # both are equal: empty, or compared just before
        with connected(tokyo.wait_served("data")) as handle:
            for _ in range(20):
                handle.pwrite(dice.randbytes(4096), dice.randrange(SIZE // 4096) * 4096)
            handle.flush()
        pair.follow()
        pair.wait_restored()

    def check() -> None:
        if osaka.client.group("db").role is Role.SECONDARY:  # it died before the intent was durable
            take_over()
        wait_until(lambda: osaka.client.group("db").generation == 2)
        assert read_all(osaka.wait_served("data")) == read_all(tokyo.wait_served("data"))
        take_over()  # given again it converges

    def take_over() -> None:
        assert osaka.client.take_over("db", TakeoverRequest(generation=2)).generation == 2

    def back() -> None:
        for controller in mortal_pair:
            delete_group(controller)
        make()

    make()
    assert at_every_step(osaka, take_over, check, back) >= 6 // THIN


def test_settling_may_itself_be_killed(mortal: ControllerProcess) -> None:
    """Cut a creation in its middle, then kill every start while it undoes that."""
    mortal.client.create_volume(VolumeCreate(name="data", size_bytes=SIZE))
    members = [GroupVolume(index=0, name="data", size_bytes=SIZE)]
    request = GroupCreate(
        name="db",
        uuid=str(uuid.uuid4()),
        role=Role.PRIMARY,
        peer_site="osaka",
        volumes=members,
        journal_bytes=JOURNAL,
    )
    mortal.die_at(9)
    with pytest.raises(PeerError):
        mortal.client.create_group(request)
    mortal.wait_died()
    deaths = 0
    for step in range(1, STEPS_MAX):
        mortal.die_at(step)
        if not mortal.start_to_die():
            break
        deaths += 1
    assert deaths >= 5
    wait_until(mortal.settled)
    assert mortal.client.groups() == []
    with connected(mortal.wait_served("data")) as handle:
        handle.pwrite(bytes(512), 0)
    with pytest.raises((ConflictError, NotFoundError)):
        mortal.client.delete_group("db")
