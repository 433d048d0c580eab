"""In-band runs between two real controllers: initial copy by journals, verify and repair, kills in the middle."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from controller.api.models import CopyState, InitialCopyMethod, JournalState, TakeoverRequest, VolumeCreate
from controller.api.runs import RunKind, RunOrder, RunPhase
from controller.errors import CapacityError, ConflictError, PairvolError
from hostagent.life.inband import following, initial, passed
from tests.support.controllers import ControllerProcess, controllers
from tests.support.lifecycle import Life, scribble
from tests.support.nbdkit import connected, read_all
from tests.support.pairs import ControllerPair
from tests.support.waiting import wait_until

MIB = 1 << 20
SIZE = 32 * MIB
JOURNAL = 8 * MIB


@contextmanager
def two_controllers(directory: Path) -> Iterator[ControllerPair]:
    """A volume four times as long as its journals, with something in it, paired and not copied."""
    with controllers(directory, "tokyo", "osaka") as (tokyo, osaka):
        volume = tokyo.client.create_volume(VolumeCreate(name="data", size_bytes=SIZE))
        assert volume.uri is not None
        with connected(volume.uri) as handle:
            for start in range(0, 28, 4):
                handle.pwrite(random.Random(start).randbytes(3 * MIB), start * MIB)
            handle.flush()
        yield ControllerPair(tokyo, osaka, {"data": SIZE}, JOURNAL)


@pytest.fixture
def fresh(directory: Path) -> Iterator[ControllerPair]:
    with two_controllers(directory) as pair:
        yield pair


@pytest.fixture(scope="module")
def pair(session_directory: Path) -> Iterator[ControllerPair]:
    """Both sides the same, by journals; for all tests that leave it so."""
    with two_controllers(session_directory / "inband") as pair:
        with agents(pair):
            pair.order_initial_copy(InitialCopyMethod.BASE)
            pair.wait_copied()
            pair.wait_restored()
        yield pair


@dataclass
class Pace:
    """How many bytes of journals are confirmed at most, about: a run stops where half of the journal is not."""

    goal: int | None = None


@contextmanager
def agents(pair: ControllerPair) -> Iterator[Pace]:
    """What the two agents do all the while: confirm, renew the copy, order the run that is due."""
    stop, pace = threading.Event(), Pace()

    def beat() -> None:
        primary, secondary = states(pair)
        if pace.goal is None or _carried_bytes(secondary) < pace.goal:
            pair.confirm()
        wanted = initial(primary, secondary) or following(primary.run, secondary.verify)
        if wanted is not None:
            pair.primary.client.order_run("db", wanted)
        if not secondary.copy_order_active:
            pair.follow()

    def main() -> None:
        while not stop.wait(0.05):
            try:
                beat()
            except PairvolError:
                pass  # a side is away

    thread = threading.Thread(target=main)
    thread.start()
    try:
        yield pace
    finally:
        stop.set()
        thread.join()


@contextmanager
def load(pair: ControllerPair) -> Iterator[None]:
    """A host that writes, zeroes and trims, also over the death of its server."""
    stop = threading.Event()

    def main() -> None:
        dice = random.Random(7)
        while not stop.is_set():
            try:
                with connected(pair.primary.wait_served("data")) as handle:
                    while not stop.wait(0.005):
                        offset = dice.randrange(SIZE // 4096 - 16) * 4096
                        if dice.random() < 0.9:
                            handle.pwrite(dice.randbytes(dice.choice((512, 4096))), offset)
                        else:
                            handle.trim(65536, offset)
                    handle.flush()
            except Exception:  # noqa: BLE001 - the server was killed: whatever its client says of that
                stop.wait(0.05)

    thread = threading.Thread(target=main)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def states(pair: ControllerPair) -> tuple[JournalState, JournalState]:
    return pair.primary.client.state("db"), pair.secondary.client.state("db")


def verified(pair: ControllerPair, task: str, repair: bool = False) -> JournalState:
    """Verify to the end of the task; the secondary's state then."""
    pair.primary.client.order_run("db", RunOrder(run=f"{task}.0", task=task, kind=RunKind.VERIFY, repair=repair))
    return wait_verified(pair, task)


def wait_verified(pair: ControllerPair, task: str) -> JournalState:
    def done() -> JournalState | None:
        try:
            primary, secondary = states(pair)
        except PairvolError:
            return None
        run, found = primary.run, secondary.verify
        assert run is None or run.phase is not RunPhase.FAILED, run
        assert secondary.failure is None, secondary.failure
        if run is None or run.task != task or not passed(run, found):
            return None
        return secondary if following(run, found) is None else None

    state = wait_until(done, 90, f"the end of task {task}")
    assert state is not None
    return state


def flip(controller: ControllerProcess, offset: int) -> None:
    """One bit of the SVOL, behind the product's back."""
    with open(controller.client.volume("data").backing, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 4]))


def kill_server(pair: ControllerPair) -> None:
    os.kill(pair.primary.server_pid("v-data"), signal.SIGKILL)


KILLS: list[Callable[[ControllerPair], None]] = [
    kill_server,
    lambda pair: pair.primary.restart(),
    lambda pair: pair.secondary.restart(),
]


def _carried_bytes(secondary: JournalState) -> int:
    return secondary.pointers["already_read"].data_position * 512


def carried(pair: ControllerPair, goal: int) -> bool:
    """Whether so many bytes of journals came over, as far as it can be known now."""
    try:
        return _carried_bytes(states(pair)[1]) >= goal
    except PairvolError:
        return False


def copied(pair: ControllerPair) -> bool:
    """Whether the initial copy is at its end."""
    try:
        return states(pair)[1].initial_copy.state is CopyState.DONE
    except PairvolError:
        return False


def test_a_copy_by_journals_that_are_shorter_than_the_volume_over_kills(fresh: ControllerPair) -> None:
    pair = fresh
    with agents(pair) as pace, load(pair):
        pace.goal = 2 * MIB
        pair.order_initial_copy(InitialCopyMethod.BASE)
        wait_until(partial(carried, pair, 2 * MIB), 60, "some of the copy")
        copy = states(pair)[1].initial_copy
        assert (copy.state, copy.bytes_total, copy.method) == (CopyState.RUNNING, SIZE, "base")
        with pytest.raises(ConflictError, match="initial copy is not complete"):
            pair.secondary.client.take_over("db", TakeoverRequest(generation=2))
        for goal, kill in zip((4 * MIB, 8 * MIB, 12 * MIB), KILLS, strict=True):
            pace.goal = goal
            wait_until(partial(carried, pair, goal), 60, f"{goal} bytes of journals")
            assert states(pair)[1].initial_copy.state is CopyState.RUNNING
            kill(pair)
        pace.goal = None
        wait_until(partial(copied, pair), 90, "the copy to end")

        def told() -> bool:
            primary, secondary = states(pair)
            assert primary.mode == "journal", "hosts never waited so long that journaling was given up"
            return primary.run is not None and primary.run.end_sequence == secondary.consistent_sequence

        wait_until(told, what="both sides to say the same end")
    pair.wait_restored()
    pair.secondary.client.take_over("db", TakeoverRequest(generation=2))
    assert read_all(pair.secondary.wait_served("data")) == read_all(pair.primary.wait_served("data"))


def test_regions_that_change_in_a_suspension_in_the_middle_of_it_come_over_too(fresh: ControllerPair) -> None:
    """The differential copy and the rest of the run go on beside each other; the copy is done when both are."""
    life, uri = Life(fresh), fresh.primary.wait_served("data")
    with agents(fresh) as pace:
        pace.goal = 4 * MIB
        fresh.order_initial_copy(InitialCopyMethod.BASE)
        wait_until(partial(carried, fresh, 4 * MIB), 60, "some of the copy")
        fresh.primary.client.suspend("db")
        scribble(uri, SIZE, 3)
        state = fresh.primary.client.state("db")
        assert (state.mode, state.run and state.run.phase) == ("suspended", RunPhase.RUNNING)
        pace.goal = None
        wait_until(lambda: resumed(fresh), what="room to resume")
        changed = life.order_resync()
        scribble(uri, SIZE, 4)

        def told() -> bool:
            primary, secondary = states(fresh)
            copy, run = secondary.initial_copy, primary.run
            assert copy.failure is None, copy.failure
            done = copy.epoch == changed.epoch and copy.state is CopyState.DONE
            return done and run is not None and run.phase is RunPhase.DONE

        wait_until(told, 60, "the copy to end")
        fresh.wait_restored()
        state = verified(fresh, "after")
        assert state.verify is not None
        assert (state.verify.different, state.verify.unsure, state.verify.bytes_verified) == ([], [], SIZE)
    fresh.secondary.client.take_over("db", TakeoverRequest(generation=2))
    assert read_all(fresh.secondary.wait_served("data")) == read_all(uri)


def resumed(pair: ControllerPair) -> bool:
    try:
        pair.primary.client.resume("db")
    except CapacityError:
        return False
    return True


def test_verify_under_load_gives_no_false_alarm_over_kills(pair: ControllerPair) -> None:
    with agents(pair), load(pair):
        state = verified(pair, "calm")
        assert state.verify is not None
        assert (state.verify.different, state.verify.unsure, state.verify.bytes_verified) == ([], [], SIZE)
        for number, kill in enumerate(KILLS):
            task = f"kill{number}"
            pair.primary.client.order_run("db", RunOrder(run=f"{task}.0", task=task, kind=RunKind.VERIFY))
            wait_until(partial(begun, pair, task), 60, "some of the verify")
            kill(pair)
            state = wait_verified(pair, task)
            assert state.verify is not None
            assert (state.verify.different, state.verify.unsure) == ([], [])


def begun(pair: ControllerPair, task: str) -> bool:
    found = states(pair)[1].verify
    return found is not None and found.task == task and found.bytes_done > 0


def test_what_was_flipped_is_named_kept_and_repaired(pair: ControllerPair) -> None:
    with agents(pair):
        pair.wait_restored()
        flips = (5 * MIB + 70_000, 31 * MIB)  # the second in a hole, unless a host wrote there
        for place in flips:
            flip(pair.secondary, place)
        state = verified(pair, "dirty")
        assert state.verify is not None
        for place, found in zip(flips, state.verify.different, strict=True):
            assert found.offset <= place < found.offset + found.length <= found.offset + 65536
        pair.secondary.restart()
        assert states(pair)[1].verify == state.verify, "found again after a restart"
        with load(pair):
            state = verified(pair, "mend", repair=True)
        assert state.verify is not None
        assert (state.verify.different, state.verify.unsure) == ([], [])
        pair.wait_restored()
        assert verified(pair, "again").verify.different == []  # type: ignore[union-attr]
