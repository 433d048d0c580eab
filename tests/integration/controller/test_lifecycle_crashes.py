"""A controller killed after every step of a change of roles: the next start, or the same order again, converges."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from controller.api.lifecycle import DemoteResult
from controller.api.models import AcquisitionMode, InitialCopyMethod, Role, TakeoverRequest, VolumeCreate
from controller.errors import NotFoundError
from tests.integration.controller.test_crashes import THIN, at_every_step
from tests.support.controllers import ControllerProcess, controllers
from tests.support.lifecycle import GROUP, Life
from tests.support.nbdkit import connected, read_all
from tests.support.pairs import ControllerPair
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.crash, pytest.mark.slow]

MIB = 1 << 20
SIZE = 8 * MIB
JOURNAL = 4 * MIB
TAIL = 12


@pytest.fixture
def mortal_pair(directory: Path) -> Iterator[list[ControllerProcess]]:
    with controllers(directory, "tokyo", "osaka", mortal=True) as both:
        both[0].client.create_volume(VolumeCreate(name="data", size_bytes=SIZE))
        yield both


class Stage:
    """A pair made anew for each death, brought to where the command is given."""

    def __init__(self, sites: list[ControllerProcess], ready: Callable[[Life], None]) -> None:
        self.sites = sites
        self.ready = ready
        self.dice = random.Random(1)
        self.make()

    def make(self) -> None:
        for controller in self.sites:
            with suppress(NotFoundError):
                controller.client.delete_group(GROUP, force=True)
        tokyo, osaka = self.sites
        with connected(tokyo.wait_served("data")) as handle:
            handle.zero(SIZE, 0)
            handle.flush()
        with suppress(NotFoundError):
            osaka.client.delete_volume("data")
        self.life = Life(ControllerPair(tokyo, osaka, {"data": SIZE}, JOURNAL))
        self.life.pair.order_initial_copy(InitialCopyMethod.NONE)
        self.write(tokyo, 0, 20)
        self.life.catch_up()
        self.ready(self.life)

    def write(self, controller: ControllerProcess, offset: int, count: int) -> None:
        with connected(controller.wait_served("data")) as handle:
            for number in range(count):
                handle.pwrite(self.dice.randbytes(4096), offset + number * 4096)
            handle.flush()

    def image(self, controller: ControllerProcess) -> bytes:
        return read_all(controller.wait_served("data"))


def test_takeover_from_the_safe_point(mortal_pair: list[ControllerProcess]) -> None:
    tokyo, osaka = mortal_pair
    images: list[bytes] = []
    stopped: list[int] = []

    def ready(life: Life) -> None:
        images.append(read_all(tokyo.wait_served("data")))
        tokyo.client.suspend(GROUP)
        stage_write(tokyo, 2 * MIB, 200)
        life.resume()
        stage_write(tokyo, 4096, 10)
        stopped.append(tokyo.server_pid("p-db"))
        os.kill(stopped[-1], signal.SIGSTOP)  # the copy cannot end
        life.order_resync()
        life.pair.follow()
        wait_until(lambda: life.state(osaka).safe_point.bytes > 0, what="the safe point to hold something")
        life.pair.wait_restored()

    def stage_write(controller: ControllerProcess, offset: int, count: int) -> None:
        dice = random.Random(offset)
        with connected(controller.wait_served("data")) as handle:
            for number in range(count):
                handle.pwrite(dice.randbytes(4096), offset + number * 4096)
            handle.flush()

    def take_over() -> None:
        result = osaka.client.take_over(GROUP, TakeoverRequest(generation=2, force=True))
        assert (result.from_safe_point, result.restored.sequence) == (True, 21)  # the marker of the suspension
        assert result.journals_dropped >= 11, "the marker and ten writes"

    def check() -> None:
        if osaka.client.group(GROUP).role is Role.SECONDARY:  # it died before the intent was durable
            take_over()
        wait_until(lambda: osaka.client.group(GROUP).generation == 2)
        assert stage.image(osaka) == images[-1]
        take_over()

    def back() -> None:
        os.kill(stopped.pop(), signal.SIGCONT)
        stage.make()

    try:
        stage = Stage(mortal_pair, ready)
        assert at_every_step(osaka, take_over, check, back) >= 8 // THIN
        check()
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


def test_demotion_counts_the_tail_right_however_often_it_begins(mortal_pair: list[ControllerProcess]) -> None:
    tokyo, osaka = mortal_pair
    results: list[DemoteResult] = []

    def ready(life: Life) -> None:
        stage_tail(tokyo)
        osaka.client.take_over(GROUP, TakeoverRequest(generation=2, force=True))
        life.pair.primary, life.pair.secondary = osaka, tokyo

    def stage_tail(controller: ControllerProcess) -> None:
        osaka.kill()  # nobody reads
        with connected(controller.wait_served("data")) as handle:
            for number in range(TAIL):
                handle.pwrite(bytes([number + 1]) * 4096, 6 * MIB + number * 4096)
            handle.flush()
        osaka.start()

    stage = Stage(mortal_pair, ready)

    def demote() -> None:
        results.append(stage.life.demote())

    def check() -> None:
        demote()
        orphan = results[-1].orphan
        assert orphan is not None
        assert (orphan.journals, orphan.data_bytes, orphan.first_sequence) == (TAIL, TAIL * 4096, 21)
        assert results[-1].dirty_bytes == MIB
        assert tokyo.client.orphans(GROUP) == [orphan]
        assert Path(orphan.path).exists()
        state = tokyo.client.state(GROUP)
        assert (state.role, state.generation, state.failure) == (Role.SECONDARY, 2, None)
        assert state.pointers["already_read"].sequence == 20

    assert at_every_step(tokyo, demote, check, stage.make, stride=2) >= 6 // THIN
    check()
    stage.life.promote()
    assert stage.life.join().initial_copy.bytes_done == MIB
    stage.life.catch_up()
    assert Path(tokyo.client.volume("data").backing).read_bytes() == stage.image(osaka)


def test_promotion(mortal_pair: list[ControllerProcess]) -> None:
    tokyo, osaka = mortal_pair

    def ready(life: Life) -> None:
        osaka.client.take_over(GROUP, TakeoverRequest(generation=2, force=True))
        with connected(osaka.wait_served("data")) as handle:
            handle.pwrite(b"\x5a" * 4096, 3 * MIB)
        life.swap_roles()

    stage = Stage(mortal_pair, ready)

    def promote() -> None:
        stage.life.promote(2)

    def check() -> None:
        promote()
        state = osaka.client.state(GROUP)
        assert (state.role, state.mode, state.dirty_bytes) == (Role.PRIMARY, AcquisitionMode.JOURNAL, MIB)
        stage.life.join()
        stage.life.catch_up()
        assert Path(tokyo.client.volume("data").backing).read_bytes() == stage.image(osaka)

    assert at_every_step(osaka, promote, check, stage.make) >= 3 // THIN
    check()
