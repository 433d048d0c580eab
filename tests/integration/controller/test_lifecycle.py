"""Suspended and back, taken over and back, between two real controllers: only the difference is copied."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.api.lifecycle import EpochOrder, PromoteOrder, ServeOrder, SplitOrder
from controller.api.models import (
    AcquisitionMode,
    CopyState,
    FenceRequest,
    Role,
    SplitMode,
    SuspendedCause,
    TakeoverRequest,
    VolumeCreate,
)
from controller.errors import ConflictError, NotFoundError
from controller.journal.dump import dump
from tests.support.controllers import ControllerProcess, controllers
from tests.support.lifecycle import GROUP, Life, scribble
from tests.support.nbdkit import connected, read_all
from tests.support.pairs import ControllerPair
from tests.support.waiting import wait_until

SIZE = 32 << 20
JOURNAL = 4 << 20
MIB = 1 << 20


@pytest.fixture
def quick(directory: Path) -> Iterator[list[ControllerProcess]]:
    """Two controllers whose full journals suspend soon."""
    with controllers(directory, "tokyo", "osaka", extra="[journal]\nfull_wait_seconds = 0.5\n") as both:
        yield both


@pytest.fixture
def life(quick: list[ControllerProcess]) -> Life:
    """A pair in step, with something in its volume."""
    tokyo, osaka = quick
    tokyo.client.create_volume(VolumeCreate(name="data", size_bytes=SIZE))
    with connected(tokyo.wait_served("data")) as handle:
        handle.pwrite(random.Random(1).randbytes(SIZE // 2), 0)
        handle.flush()
    pair = ControllerPair(tokyo, osaka, {"data": SIZE}, JOURNAL)
    life = Life(pair)
    life.begin()
    return life


def write(controller: ControllerProcess, offset: int, data: bytes) -> None:
    with connected(controller.wait_served("data")) as handle:
        handle.pwrite(data, offset)
        handle.flush()


def image(controller: ControllerProcess) -> bytes:
    """The volume as hosts read it."""
    return read_all(controller.wait_served("data"))


def backing(controller: ControllerProcess) -> bytes:
    """The volume of a site that serves it to nobody."""
    return Path(controller.client.volume("data").backing).read_bytes()


def fill_journal(life: Life) -> None:
    """Write until the journal is full and the group suspended, with nobody reading; then some more."""
    dice = random.Random(5)
    with connected(life.primary.wait_served("data")) as handle:
        for number in range(3 * JOURNAL // 65536):
            handle.pwrite(dice.randbytes(65536), number % 32 * 65536)
        handle.pwrite(b"direct" * 512, 20 * MIB)
        handle.flush()


def in_step(life: Life) -> None:
    life.catch_up()
    assert backing(life.secondary) == image(life.primary)


# suspended and back


def test_a_full_journal_suspends_and_only_the_difference_is_copied(life: Life) -> None:
    tokyo, osaka = life.primary, life.secondary
    osaka.kill()
    fill_journal(life)
    state = life.state(tokyo)
    assert (state.mode, state.suspended_cause, state.failure) == (
        AcquisitionMode.SUSPENDED,
        SuspendedCause.FULL,
        None,
    )
    assert 0 < state.dirty_bytes < SIZE // 2
    with pytest.raises(ConflictError, match="not final"):
        tokyo.client.regions(GROUP)
    osaka.start()
    life.catch_up()
    assert life.state(osaka).pointers["already_restored"].sequence == state.suspended_sequence

    changed = life.resume()
    assert (changed.epoch, changed.sequence) == (state.epoch, state.suspended_sequence)
    scribble(tokyo.wait_served("data"), SIZE, 7)  # journaled, while the regions wait
    life.pair.follow()
    wait_until(lambda: life.state(osaka).waiting_epoch == changed.epoch, what="restore to wait for the regions")
    assert life.state(osaka).pointers["already_restored"].sequence == changed.sequence
    life.order_resync(changed)
    life.order_resync(changed)
    after = life.end_resync(changed.epoch)
    assert (after.initial_copy.method, after.initial_copy.epoch) == ("differential", changed.epoch)
    assert 0 < after.initial_copy.bytes_copied <= state.dirty_bytes
    assert (after.waiting_epoch, after.safe_point.open) == (None, False)
    in_step(life)
    with pytest.raises(NotFoundError, match="no changed regions"):
        tokyo.client.regions(GROUP)
    tokyo.client.clear_epoch(GROUP, EpochOrder(epoch=changed.epoch))


def test_a_suspension_during_a_resync_adds_to_the_set(life: Life) -> None:
    tokyo, osaka = life.primary, life.secondary
    for _ in range(2):
        tokyo.client.suspend(GROUP)
    assert life.state(tokyo).suspended_cause is SuspendedCause.OPERATOR
    write(tokyo, 3 * MIB, b"\x11" * MIB)
    first = life.resume()
    life.pair.follow()
    tokyo.client.suspend(GROUP)  # before the secondary has copied anything
    write(tokyo, 9 * MIB, b"\x22" * MIB)
    life.pair.wait_restored(first.sequence)
    life.pair.confirm()
    second = life.resume()
    assert second.epoch != first.epoch
    assert life.state(tokyo).dirty_bytes == 2 * MIB
    with pytest.raises(ConflictError, match="set here"):
        tokyo.client.clear_epoch(GROUP, EpochOrder(epoch=first.epoch))
    life.order_resync(second)
    life.end_resync(second.epoch)
    in_step(life)
    assert life.state(osaka).initial_copy.bytes_copied == 2 * MIB


def test_killed_in_the_middle_of_every_step_it_converges(life: Life) -> None:
    tokyo, osaka = life.primary, life.secondary

    def kill_volume_server() -> None:
        os.kill(tokyo.server_pid("v-data"), signal.SIGKILL)

    def write_through(seed: int) -> None:
        def serves() -> bool:
            try:
                scribble(tokyo.wait_served("data"), SIZE, seed, writes=5)
            except Exception:  # noqa: BLE001 - the server is being started again
                return False
            return True

        wait_until(serves, 30, "host writes to go on")

    tokyo.client.suspend(GROUP)
    write(tokyo, 4 * MIB, random.Random(2).randbytes(6 * MIB))
    kill_volume_server()
    write_through(11)
    tokyo.restart()
    wait_until(lambda: life.state(tokyo).mode is AcquisitionMode.SUSPENDED, 30, "the suspension to be in force")
    life.catch_up()
    changed = life.resume()
    kill_volume_server()
    write_through(12)
    osaka.restart()
    life.pair.follow()
    life.order_resync(changed)
    osaka.restart()
    tokyo.restart()
    kill_volume_server()
    write_through(13)
    osaka.restart()
    wait_until(lambda: tokyo.client.group(GROUP).links is not None, 30, "the journal to be readable")
    life.order_resync(changed)
    life.pair.follow()
    life.end_resync(changed.epoch)
    in_step(life)


# the safe point


def test_takeover_in_the_middle_of_a_resync_goes_back_to_the_safe_point(life: Life) -> None:
    tokyo, osaka = life.primary, life.secondary
    scribble(tokyo.wait_served("data"), SIZE, 3)
    life.catch_up()
    before = image(tokyo)
    tokyo.client.suspend(GROUP)
    write(tokyo, 0, random.Random(4).randbytes(12 * MIB))
    write(tokyo, 29 * MIB, b"\x77" * MIB)
    changed = life.resume()
    scribble(tokyo.wait_served("data"), SIZE, 5)
    life.pair.follow()
    wait_until(lambda: life.state(osaka).waiting_epoch is not None, what="restore to wait for the regions")
    assert osaka.client.state(GROUP).safe_point.open is False
    with pytest.raises(ConflictError, match="wait for a copy of changed regions"):
        osaka.client.take_over(GROUP, TakeoverRequest(generation=2))
    life.pair.follow()

    # The copy begins and cannot end: its source is gone after the order.
    os.kill(tokyo.server_pid("p-db"), signal.SIGSTOP)
    life.order_resync(changed)
    wait_until(lambda: life.state(osaka).safe_point.open, what="the safe point")
    wait_until(lambda: life.state(osaka).waiting_epoch is None, what="restore to go on")
    life.pair.wait_restored()
    life.pair.confirm()  # the primary frees what only this site can tell about afterwards
    wait_until(
        lambda: life.state(tokyo).pointers["journal_out"].sequence > changed.sequence, what="journals to be freed"
    )
    dirtied = life.state(osaka)
    assert dirtied.safe_point.sequence == changed.sequence
    assert dirtied.safe_point.bytes > 0, "restore saved what it overwrote"
    osaka.restart()
    with pytest.raises(ConflictError, match="resync is under way") as refused:
        osaka.client.take_over(GROUP, TakeoverRequest(generation=2))
    assert refused.value.facts["sequence"] == changed.sequence
    result = osaka.client.take_over(GROUP, TakeoverRequest(generation=2, force=True))
    os.kill(tokyo.server_pid("p-db"), signal.SIGCONT)
    assert (result.from_safe_point, result.restored.sequence) == (True, changed.sequence)
    assert result.journals_dropped == dirtied.pointers["already_read"].sequence - changed.sequence
    assert image(osaka) == before

    # And the pair comes together again, in the other direction, by the difference.
    write(osaka, 18 * MIB, b"\x55" * MIB)
    demoted = life.swap_roles()
    assert demoted.orphan is None, "its journals were confirmed and freed; the takeover counted them"
    life.promote()
    after = life.join()
    assert after.initial_copy.bytes_copied > 0
    in_step(life)


# taken over, and back


def test_takeover_writes_and_back_by_the_difference(life: Life) -> None:
    tokyo, osaka = life.primary, life.secondary
    osaka.kill()  # what follows never arrives
    scribble(tokyo.wait_served("data"), SIZE, 6, writes=30, start=24 * MIB)
    tail = life.state(tokyo).pointers["durable"].sequence
    osaka.start()
    result = osaka.client.take_over(GROUP, TakeoverRequest(generation=2, force=True))
    missing = tail - result.restored.sequence
    assert (missing, result.journals_dropped) == (30, 0)
    state = life.state(osaka)
    assert (state.role, state.mode, state.suspended_cause) == (
        Role.TAKEN_OVER,
        AcquisitionMode.SUSPENDED,
        SuspendedCause.TAKEOVER,
    )
    write(osaka, 0, b"\x99" * MIB)
    expected = image(osaka)

    tokyo.client.fence(GROUP, FenceRequest(generation=2, reason="osaka serves"))
    demoted = life.swap_roles()
    again = life.demote()
    assert demoted == again
    orphan = demoted.orphan
    assert orphan is not None
    assert (orphan.journals, orphan.first_sequence, orphan.last_sequence) == (30, tail - 29, tail)
    assert orphan.first_time_ns < orphan.last_time_ns
    assert tokyo.client.orphans(GROUP) == [orphan]
    found = [each for each in dump(orphan.path) if each["sequence"] > result.restored.sequence]
    assert [each["sequence"] for each in found] == list(range(tail - 29, tail + 1))
    assert sum(each["data_bytes"] for each in found) == orphan.data_bytes
    life.promote()
    life.promote()
    assert life.state(osaka).mode is AcquisitionMode.JOURNAL
    write(osaka, 5 * MIB, b"\x33" * 4096)  # a journal, while the copy is not begun
    after = life.join()
    # The change at osaka, and the regions of tokyo's tail.
    assert 0 < after.initial_copy.bytes_copied <= 9 * MIB
    in_step(life)
    assert image(osaka)[MIB : 5 * MIB] == expected[MIB : 5 * MIB]

    with pytest.raises(ConflictError, match="keeps 30 journals that no other site has"):
        tokyo.client.delete_group(GROUP)
    tokyo.client.drop_orphan(GROUP, orphan.name)
    assert tokyo.client.orphans(GROUP) == []
    assert not Path(orphan.path).exists()

    # Failback: planned, nothing is lost and nothing is copied.
    osaka.client.serve(GROUP, ServeOrder(generation=2, on=False))
    with connected(osaka.wait_served("data")) as handle, pytest.raises(Exception, match="nbd_pwrite"):
        handle.pwrite(bytes(512), 0)
    life.catch_up()
    tokyo.client.take_over(GROUP, TakeoverRequest(generation=3))
    demoted = life.swap_roles()
    assert (demoted.orphan, demoted.dirty_bytes) == (None, 0)
    life.promote()
    after = life.join()
    assert after.initial_copy.bytes_copied == 0
    write(tokyo, 7 * MIB, b"\x44" * 4096)
    in_step(life)


def test_the_operator_may_keep_the_fenced_side(life: Life) -> None:
    """resync without swap: the site that was taken over at is dropped, the old primary goes on."""
    tokyo, osaka = life.primary, life.secondary
    osaka.kill()
    scribble(tokyo.wait_served("data"), SIZE, 8, writes=30)
    kept = image(tokyo)
    osaka.start()
    osaka.client.take_over(GROUP, TakeoverRequest(generation=2, force=True))
    write(osaka, 2 * MIB, b"\xbb" * MIB)
    tokyo.client.fence(GROUP, FenceRequest(generation=2, reason="osaka serves"))
    with pytest.raises(ConflictError, match="cannot promote"):
        tokyo.client.promote(GROUP, PromoteOrder(generation=2))
    osaka.client.fence(GROUP, FenceRequest(generation=3, reason="tokyo is kept"))
    life.promote(3)
    assert image(tokyo) == kept
    demoted = life.demote()
    assert (demoted.orphan, demoted.generation) == (None, 3)
    life.join()
    assert image(tokyo) == kept
    in_step(life)


# who serves


def test_a_returning_primary_serves_when_told(life: Life) -> None:
    tokyo = life.primary
    write(tokyo, 0, b"\x01" * 4096)
    tokyo.kill()
    os.kill(tokyo.server_pid("v-data"), signal.SIGKILL)
    permit = tokyo.run_directory / f"{GROUP}.permit"
    permit.unlink()  # as after a boot
    tokyo.configure("[serve]\nalone = false\n")
    tokyo.start()
    state = life.state(tokyo)
    assert (state.role, state.serving, state.awaits_serve, state.failure) == (Role.PRIMARY, False, True, None)
    assert tokyo.client.volume("data").server.value == "stopped"
    with pytest.raises(ConflictError, match="under generation 2"):
        tokyo.client.serve(GROUP, ServeOrder(generation=2))
    state = tokyo.client.serve(GROUP, ServeOrder(generation=1))
    assert (state.serving, state.awaits_serve) == (True, False)
    assert image(tokyo)[:4096] == b"\x01" * 4096
    assert permit.exists()

    # A controller and a volume server that die in a living site go on at once.
    tokyo.kill()
    os.kill(tokyo.server_pid("v-data"), signal.SIGKILL)
    tokyo.start()
    assert life.state(tokyo).awaits_serve is False
    in_step(life)

    # The operator chose availability: after a while hosts are served without word.
    tokyo.kill()
    os.kill(tokyo.server_pid("v-data"), signal.SIGKILL)
    permit.unlink()
    tokyo.configure("[serve]\nalone_after_seconds = 0.5\n")
    tokyo.start()
    tokyo.wait_event("group.serves_alone")
    in_step(life)


# split


def test_a_split_secondary_is_read_then_written_and_comes_back(life: Life) -> None:
    tokyo, osaka = life.primary, life.secondary
    split = osaka.client.split(GROUP, SplitOrder(mode=SplitMode.READ))
    assert (split.split, split.serving) == (SplitMode.READ, True)
    before = image(osaka)
    assert before == image(tokyo)
    write(tokyo, 0, b"\x0a" * MIB)
    life.pair.follow()
    wait_until(
        lambda: life.state(osaka).pointers["already_read"].sequence == life.pair.durable(), what="journals to arrive"
    )
    assert image(osaka) == before, "restore stands still"
    osaka.restart()
    assert image(osaka) == before
    with connected(osaka.wait_served("data")) as handle:
        assert handle.is_read_only()
    osaka.client.split(GROUP, SplitOrder(mode=SplitMode.OFF))
    in_step(life)

    osaka.client.split(GROUP, SplitOrder(mode=SplitMode.WRITE))
    write(osaka, 10 * MIB, b"\x0b" * MIB)
    write(tokyo, 20 * MIB, b"\x0c" * MIB)
    with pytest.raises(ConflictError, match="are split"):
        life.order_resync(osaka.client.regions(GROUP))
    state = osaka.client.split(GROUP, SplitOrder(mode=SplitMode.OFF))
    assert (state.suspended_cause, state.dirty_bytes, state.waiting_epoch) == (SuspendedCause.SPLIT, MIB, state.epoch)
    osaka.restart()
    life.pair.follow()
    own = osaka.client.regions(GROUP)
    nothing = own.model_copy(update={"volumes": {}, "epoch": "00000000-0000-4000-8000-000000000001"})
    life.order_resync(nothing)
    wait_until(life.consistent, 30, "the resync to end")
    in_step(life)
    assert life.state(osaka).initial_copy.state is CopyState.DONE
    assert life.state(osaka).dirty_bytes == 0
