"""Drills of a group of two volumes at a controller: what they refuse, what ends them, what a crash leaves."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from controller.api.drills import Drill, DrillStamp, DrillStart, DrillState
from controller.api.lifecycle import SplitOrder
from controller.api.markers import MarkerOrder
from controller.api.models import InitialCopyOrder, SplitMode, VolumeCreate
from controller.errors import ConflictError, NotFoundError, PeerError
from controller.process import servers_under
from tests.support.controllers import ControllerProcess, controllers
from tests.support.nbdkit import connected, read_all
from tests.support.pairs import ControllerPair
from tests.support.waiting import wait_until

SIZE = 4 << 20
STEPS_MAX = 60
VOLUMES = {"data": SIZE, "log": SIZE + 512 * 7}  # one of odd length


@pytest.fixture
def pair(tokyo_and_osaka: list[ControllerProcess]) -> ControllerPair:
    tokyo, osaka = tokyo_and_osaka
    for name, size in VOLUMES.items():
        tokyo.client.create_volume(VolumeCreate(name=name, size_bytes=size))
    made = ControllerPair(tokyo, osaka, VOLUMES)
    made.follow()
    made.order_initial_copy()
    made.wait_copied()
    return made


def write(pair: ControllerPair, value: int) -> int:
    """The same page into both volumes; the sequence of a marker behind it."""
    for name in VOLUMES:
        with connected(pair.primary.wait_served(name)) as handle:
            handle.pwrite(bytes([value]) * 4096, 0)
    return pair.primary.client.put_marker(pair.group, MarkerOrder(name=f"m{value}")).sequence


def start(pair: ControllerPair) -> Drill:
    return pair.secondary.client.start_drill(pair.group, DrillStart())


def values(drill: Drill) -> list[int]:
    """What the first byte of each image says."""
    return [read_all(image.uri)[0] for image in drill.images]


def of_number(pair: ControllerPair, drill: Drill) -> Drill:
    return next(each for each in pair.secondary.client.drills(pair.group) if each.number == drill.number)


def image_pids(pair: ControllerPair, drill: Drill) -> list[int]:
    return [pair.secondary.server_pid(image.server) for image in drill.images]


def test_images_of_both_volumes_are_of_one_moment_and_bar_what_would_change_them(pair: ControllerPair) -> None:
    osaka, group = pair.secondary.client, pair.group
    sequence = pair.wait_restored(write(pair, 1))
    drill = start(pair)
    assert (drill.sequence, [image.volume for image in drill.images]) == (sequence, list(VOLUMES))
    read = write(pair, 2)
    wait_until(lambda: osaka.state(group).pointers["already_read"].sequence >= read)
    assert values(drill) == [1, 1]
    assert [len(read_all(image.uri)) for image in drill.images] == list(VOLUMES.values())
    assert osaka.stamp_drill(group, drill.number, DrillStamp(ready_seconds=1.5)).ready_seconds == 1.5

    fresh = InitialCopyOrder(source=pair.source(), gap_sequence=99)
    for refused in (
        lambda: osaka.split(group, SplitOrder(mode=SplitMode.READ)),
        lambda: osaka.order_initial_copy(group, fresh),
        lambda: osaka.delete_group(group),
    ):
        with pytest.raises(ConflictError, match="drill"):
            refused()
    pair.order_initial_copy()  # the order for the copy that is done changes nothing
    with pytest.raises(NotFoundError):
        osaka.stop_drill(group, 77)
    with pytest.raises(ConflictError, match="it is primary here"):
        pair.primary.client.start_drill(group, DrillStart())

    pids = image_pids(pair, drill)
    assert len(set(pids)) == 2
    osaka.delete_group(group, force=True)
    (over,) = osaka.drills()
    assert (over.state, over.reason, over.ready_seconds) == (DrillState.STOPPED, "the group was deleted", 1.5)
    assert not list(pair.secondary.run_directory.glob("d-*"))


def test_a_volume_that_is_no_copy_yet_has_no_image_and_restore_is_not_held(
    tokyo_and_osaka: list[ControllerProcess],
) -> None:
    tokyo, osaka = tokyo_and_osaka
    for name, size in VOLUMES.items():
        tokyo.client.create_volume(VolumeCreate(name=name, size_bytes=size))
    pair = ControllerPair(tokyo, osaka, VOLUMES)
    with pytest.raises(ConflictError, match="not consistent yet"):
        start(pair)
    pair.follow()
    pair.order_initial_copy()
    pair.wait_copied()
    pair.wait_restored(write(pair, 1))
    assert osaka.client.drills() == []


def test_a_controller_killed_with_a_drill_takes_it_up_or_ends_it_whole(pair: ControllerPair) -> None:
    osaka = pair.secondary
    pair.wait_restored(write(pair, 1))
    drill = start(pair)
    pids = image_pids(pair, drill)
    osaka.restart()
    pair.follow()
    write(pair, 2)
    assert image_pids(pair, of_number(pair, drill)) == pids
    assert values(drill) == [1, 1]

    osaka.kill()
    (osaka.run_directory / f"{drill.images[0].server}.pid").unlink()  # as if the machine had started anew
    os.kill(pids[0], signal.SIGKILL)
    osaka.start()
    pair.follow()
    assert of_number(pair, drill).state is DrillState.LOST
    pair.wait_restored()
    assert osaka.client.stop_drill(pair.group, drill.number).state is DrillState.LOST  # over is over
    again = start(pair)
    assert (again.number, values(again)) == (drill.number + 1, [2, 2])


def test_a_drill_that_nobody_confirms_ends_when_its_agent_is_silent(pair: ControllerPair) -> None:
    osaka, group = pair.secondary, pair.group
    pair.wait_restored(write(pair, 1))
    brief, long = DrillStart(lease_seconds=0.5), DrillStart(lease_seconds=3600)
    drill = osaka.client.start_drill(group, brief)

    def over() -> Drill | None:
        found = of_number(pair, drill)
        return found if found.state is not DrillState.OPEN else None

    ended = wait_until(over, 20, "the drill to end")
    assert ended is not None
    assert (ended.state, ended.reason) == (DrillState.STOPPED, "nobody confirmed it")
    write(pair, 2)
    pair.wait_restored()
    assert osaka.client.renew_drill(group, drill.number).state is DrillState.STOPPED  # too late, and no error
    stamped = osaka.client.stamp_drill(group, drill.number, DrillStamp(confirmed=True))
    assert (stamped.state, stamped.lease_seconds) == (DrillState.STOPPED, 0.5)

    drill = osaka.client.start_drill(group, long)
    assert osaka.client.renew_drill(group, drill.number).lease_seconds == 3600
    confirmed = osaka.client.stamp_drill(group, drill.number, DrillStamp(confirmed=True))
    assert confirmed.lease_seconds is None
    assert osaka.client.stop_drill(group, drill.number, unconfirmed=True).state is DrillState.OPEN
    assert osaka.client.stop_drill(group, drill.number).state is DrillState.STOPPED
    drill = osaka.client.start_drill(group, long)
    assert osaka.client.stop_drill(group, drill.number, unconfirmed=True).reason == "nobody confirmed it"


def test_a_lease_begins_anew_with_the_controller(pair: ControllerPair) -> None:
    osaka, group = pair.secondary, pair.group
    drill = osaka.client.start_drill(group, DrillStart(lease_seconds=2))
    kept = osaka.client.start_drill(group, DrillStart(lease_seconds=3600))
    osaka.kill()
    osaka.start()
    wait_until(lambda: of_number(pair, drill).state is DrillState.STOPPED, 20, "the drill to end")
    assert of_number(pair, kept).state is DrillState.OPEN
    assert osaka.client.stop_drill(group, kept.number).state is DrillState.STOPPED


def test_start_and_stop_cut_short_at_each_step_leave_a_whole_drill_or_none(directory: Path) -> None:
    with controllers(directory, "tokyo", "osaka", mortal=True) as (tokyo, osaka):
        for name, size in VOLUMES.items():
            tokyo.client.create_volume(VolumeCreate(name=name, size_bytes=size))
        pair = ControllerPair(tokyo, osaka, VOLUMES)
        pair.follow()
        pair.order_initial_copy()
        pair.wait_copied()
        pair.wait_restored(write(pair, 1))

        def open_drills() -> list[Drill]:
            """Those that are open, each whole; without one there is no image and restore goes on."""
            drills = [each for each in osaka.client.drills(pair.group) if each.state is DrillState.OPEN]
            for drill in drills:
                assert values(drill) == [1, 1]
            assert osaka.client.state(pair.group).drills == len(drills)
            expected = {Path(f"{image.server}.pid") for drill in drills for image in drill.images}
            left = {Path(pidfile.name) for _, pidfile in servers_under(osaka.run_directory)}
            assert {path for path in left if path.name.startswith("d-")} == expected
            return drills

        def stop_all() -> None:
            for drill in open_drills():
                osaka.client.stop_drill(pair.group, drill.number)

        deaths = 0
        for step in range(1, STEPS_MAX):
            osaka.die_at(step)
            try:
                drill = start(pair)
                osaka.client.stop_drill(pair.group, drill.number)
            except PeerError:
                osaka.wait_died()
            else:
                osaka.live_on()
                break
            osaka.start()
            deaths += 1
            stop_all()
            assert open_drills() == []
        assert deaths >= 6
        pair.follow()
        write(pair, 2)
        pair.wait_restored()
        assert {each.state for each in osaka.client.drills()} >= {DrillState.FAILED, DrillState.STOPPED}
