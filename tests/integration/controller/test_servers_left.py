"""A command that ends who serves without a journal, cut short: with its map it is not who serves after it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from controller import control_client
from controller.api.lifecycle import SplitOrder
from controller.api.models import AcquisitionMode, Role, SplitMode, TakeoverRequest
from controller.errors import ConflictError
from controller.paths import GroupPaths, Paths
from controller.state import Phase, Way
from controller.volume.dirty import DirtyMap
from tests.integration.controller.living import MIB, image, write
from tests.support.controllers import ControllerProcess
from tests.support.lifecycle import GROUP, Life
from tests.support.waiting import wait_until


def killed_behind_its_intent(life: Life, mode: SplitMode, intent: dict[str, Any]) -> ControllerProcess:
    """The secondary site, split, with that command begun; its controller is started again."""
    osaka = life.secondary
    life.catch_up()
    osaka.client.split(GROUP, SplitOrder(mode=mode))
    osaka.wait_served("data")
    begin_again_with(osaka, intent)
    return osaka


def begin_again_with(controller: ControllerProcess, intent: dict[str, Any]) -> None:
    controller.kill()
    document = controller.state_directory / "state.json"
    state = json.loads(document.read_text())
    state["groups"][GROUP] |= intent
    document.write_text(json.dumps(state))
    controller.start()
    wait_until(controller.settled, what="the command to be finished")


def served_mode(controller: ControllerProcess) -> AcquisitionMode:
    paths = Paths(controller.state_directory, controller.run_directory)
    return AcquisitionMode(control_client.command(paths.control("v-data"), "status")["mode"])


@pytest.mark.parametrize(("mode", "way"), [(SplitMode.WRITE, Way.STAND), (SplitMode.READ, Way.RESTORE)])
def test_what_hosts_write_after_a_takeover_is_in_its_map(life: Life, mode: SplitMode, way: Way) -> None:
    intent = {"phase": str(Phase.TAKING_OVER), "next_generation": 2, "way": str(way)}
    osaka = killed_behind_its_intent(life, mode, intent)
    assert life.state(osaka).role is Role.TAKEN_OVER
    write(osaka, 9 * MIB, b"\x33" * MIB)
    files = GroupPaths(Paths(osaka.state_directory, osaka.run_directory).group(GROUP))
    marks = DirtyMap.open(str(files.dirty_map), osaka.client.group(GROUP).uuid)
    assert marks.dirty_bytes() == MIB
    marks.close()


@pytest.mark.parametrize("mode", [SplitMode.WRITE, SplitMode.READ])
def test_volumes_of_a_deleted_group_are_served_as_if_there_had_been_none(life: Life, mode: SplitMode) -> None:
    osaka = killed_behind_its_intent(life, mode, {"phase": str(Phase.DELETING)})
    assert osaka.client.groups() == []
    write(osaka, 9 * MIB, b"\x33" * MIB)
    assert served_mode(osaka) is AcquisitionMode.DIRECT


def test_a_takeover_that_is_called_off_leaves_the_split_as_it_was(life: Life) -> None:
    tokyo, osaka = life.primary, life.secondary
    life.catch_up()
    osaka.client.split(GROUP, SplitOrder(mode=SplitMode.READ))
    before = image(osaka)
    tokyo.client.suspend(GROUP)
    write(tokyo, 9 * MIB, b"\x33" * MIB)
    changed = life.resume()
    life.pair.follow()
    wait_until(
        lambda: life.state(osaka).pointers["already_read"].sequence > changed.sequence, what="the marker to arrive"
    )
    with pytest.raises(ConflictError, match="wait for a copy of changed regions"):
        osaka.client.take_over(GROUP, TakeoverRequest(generation=2))
    assert life.state(osaka).split is SplitMode.READ
    assert image(osaka) == before


def test_a_volume_that_was_taken_over_has_no_map_when_its_group_is_gone(life: Life) -> None:
    osaka = life.secondary
    life.catch_up()
    osaka.client.take_over(GROUP, TakeoverRequest(generation=2))
    osaka.wait_served("data")
    begin_again_with(osaka, {"phase": str(Phase.DELETING)})
    assert osaka.client.groups() == []
    write(osaka, 9 * MIB, b"\x33" * MIB)
    assert served_mode(osaka) is AcquisitionMode.DIRECT
