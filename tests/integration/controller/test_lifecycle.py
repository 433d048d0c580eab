"""Suspended and back, between two real controllers: only the difference is copied, behind a safe point."""

from __future__ import annotations

import os
import random
import signal

import pytest

from controller.api.lifecycle import EpochOrder
from controller.api.models import (
    AcquisitionMode,
    SuspendedCause,
    TakeoverRequest,
)
from controller.errors import ConflictError, NotFoundError
from controller.process import servers_under
from tests.integration.controller.living import MIB, SIZE, fill_journal, image, in_step, write
from tests.support.controllers import ControllerProcess
from tests.support.lifecycle import GROUP, Life, scribble
from tests.support.waiting import wait_until

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
    wait_until(
        lambda: len(_volume_servers(osaka)) == 1, what="the server that was loaded to wait for the next takeover"
    )
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
    assert [each.name for each in osaka.client.events() if each.name.startswith("server.")] == ["server.adopted"]
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


def _volume_servers(controller: ControllerProcess) -> list[int]:
    return [pid for pid, pidfile in servers_under(controller.run_directory) if pidfile.name.startswith("v-")]
