"""Taken over and back, told to serve, split: two real controllers change roles, and only the difference is copied."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from controller.api.lifecycle import PromoteOrder, ServeOrder, SplitOrder
from controller.api.models import (
    AcquisitionMode,
    CopyState,
    FenceRequest,
    Role,
    SplitMode,
    SuspendedCause,
    TakeoverRequest,
)
from controller.errors import ConflictError
from controller.journal.dump import dump
from tests.integration.controller.living import MIB, SIZE, image, in_step, write
from tests.support.lifecycle import GROUP, Life, scribble
from tests.support.nbdkit import connected
from tests.support.waiting import wait_until

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

    for refused in (tokyo.client.delete_group, tokyo.client.check_deletion):
        with pytest.raises(ConflictError, match=r"keeps 30 journals \(.*\) at tokyo that no other site has") as caught:
            refused(GROUP)
        assert f'"pairvol journal drop {GROUP} --orphan latest"' in caught.value.hint
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
    os.kill(tokyo.server_pid("v-data"), signal.SIGKILL)  # just after the other site was heard: it may take over now
    tokyo.configure("[serve]\nalone = false\n")
    tokyo.start()
    state = life.state(tokyo)
    assert (state.role, state.serving, state.awaits_serve, state.failure) == (Role.PRIMARY, False, True, None)
    assert tokyo.client.volume("data").server.value == "stopped"
    life.pair.follow()
    life.pair.confirm()  # which is no order to serve
    assert life.state(tokyo).awaits_serve
    with pytest.raises(ConflictError, match="under generation 2"):
        tokyo.client.serve(GROUP, ServeOrder(generation=2))
    state = tokyo.client.serve(GROUP, ServeOrder(generation=1))
    assert (state.serving, state.awaits_serve) == (True, False)
    assert image(tokyo)[:4096] == b"\x01" * 4096

    # A volume server that lived on is no return: its hosts notice nothing.
    with connected(tokyo.wait_served("data")) as handle:
        server = tokyo.server_pid("v-data")
        tokyo.restart()
        assert (life.state(tokyo).awaits_serve, tokyo.server_pid("v-data")) == (False, server)
        handle.pwrite(b"\x02" * 4096, 0)
    # Nor is one that dies under a controller that lives.
    os.kill(server, signal.SIGKILL)
    tokyo.wait_event("server.died", server="v-data")
    assert image(tokyo)[:4096] == b"\x02" * 4096
    in_step(life)

    # The operator chose availability: after a while hosts are served without word.
    tokyo.kill()
    os.kill(tokyo.server_pid("v-data"), signal.SIGKILL)
    tokyo.configure("[serve]\nalone_after_seconds = 0.5\n")
    tokyo.start()
    tokyo.wait_event("group.serves_alone")
    in_step(life)


def test_a_primary_that_yields_takes_writes_only_when_that_takeover_is_called_off(life: Life) -> None:
    tokyo = life.primary
    tokyo.configure("[serve]\nalone = false\n")
    state = tokyo.client.serve(GROUP, ServeOrder(generation=1, on=False, successor=2))
    assert (state.quiesced, state.yields_to) == (True, 2)
    tokyo.kill()
    os.kill(tokyo.server_pid("v-data"), signal.SIGKILL)
    tokyo.start()
    assert life.state(tokyo).awaits_serve
    state = tokyo.client.serve(GROUP, ServeOrder(generation=1, on=False))  # the other site was heard: it may be read
    assert (state.awaits_serve, state.quiesced, state.yields_to) == (False, True, 2)
    for order in (ServeOrder(generation=1), ServeOrder(generation=1, successor=1)):
        with pytest.raises(ConflictError, match="takeover of generation 2"):
            tokyo.client.serve(GROUP, order)
    with connected(tokyo.wait_served("data")) as handle, pytest.raises(Exception, match="nbd_pwrite"):
        handle.pwrite(bytes(512), 0)
    state = tokyo.client.serve(GROUP, ServeOrder(generation=1, successor=2))
    assert (state.quiesced, state.yields_to) == (False, None)
    write(tokyo, 0, b"\x01" * 4096)
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
