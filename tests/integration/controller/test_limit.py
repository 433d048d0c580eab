"""A bandwidth limit between two controllers: it holds, and lifting it while the copy runs lets that finish."""

from __future__ import annotations

import random
import time
from pathlib import Path

from controller.api.models import CopyOrder, CopyState, InitialCopyOrder, VolumeCreate
from controller.copy.bucket import BURST_SECONDS, STEP_SECONDS
from controller.journal.layout import RECORD_BYTES
from tests.support.controllers import ControllerProcess
from tests.support.nbdkit import connected, read_all
from tests.support.pairs import ControllerPair
from tests.support.waiting import wait_until

MIB = 1 << 20
SIZE = 64 * MIB
LIMIT = 2 * MIB


class Moved:
    """What a secondary has taken over by now, and when that was at the earliest or latest."""

    def __init__(self, pair: ControllerPair) -> None:
        self.before = time.monotonic()
        state = pair.secondary.client.state(pair.group)
        self.after = time.monotonic()
        read = state.pointers["already_read"]
        self.copied = state.initial_copy.bytes_copied
        self.journals = read.sequence
        self.bytes = self.copied + read.data_position * 512 + read.sequence * RECORD_BYTES


def order(pair: ControllerPair, limit: int | None) -> None:
    source = pair.source()
    pair.secondary.client.order_initial_copy("db", InitialCopyOrder(source=source, limit_bytes_per_second=limit))
    follow = CopyOrder(source=source, lease_seconds=60, limit_bytes_per_second=limit)
    pair.secondary.client.order_copy("db", follow)


def test_a_limit_holds_and_can_be_lifted(tokyo_and_osaka: list[ControllerProcess]) -> None:
    tokyo, osaka = tokyo_and_osaka
    tokyo.client.create_volume(VolumeCreate(name="data", size_bytes=SIZE))
    uri = tokyo.wait_served("data")
    dice = random.Random(7)
    with connected(uri) as handle:
        for offset in range(0, SIZE // 2, MIB):
            handle.pwrite(dice.randbytes(MIB), offset)
        handle.flush()
    pair = ControllerPair(tokyo, osaka, {"data": SIZE})
    uri = tokyo.wait_served("data")
    order(pair, LIMIT)
    with connected(uri) as handle:
        for offset in range(SIZE // 2, SIZE // 2 + 8 * MIB, MIB // 4):
            handle.pwrite(dice.randbytes(MIB // 4), offset)
        handle.flush()
    begin = Moved(pair)
    wait_until(lambda: Moved(pair).bytes >= begin.bytes + 4 * MIB, 60, "4 MiB to come over")
    end = Moved(pair)
    steps = 2 * LIMIT * STEP_SECONDS  # of the two that move bytes; what one took before it is counted when it ends
    allowed = LIMIT * (end.after - begin.before + BURST_SECONDS) + 2 * steps
    assert end.bytes - begin.bytes <= allowed
    assert end.journals > 1
    assert end.copied
    state = osaka.client.state("db")
    assert state.limit_bytes_per_second == LIMIT
    assert state.limit_holds_back
    assert state.initial_copy.state is CopyState.RUNNING

    order(pair, None)
    assert osaka.client.state("db").limit_bytes_per_second is None
    assert osaka.client.state("db").initial_copy.bytes_copied >= end.copied  # it did not begin anew
    pair.wait_copied()
    pair.wait_restored()
    total = osaka.client.state("db").initial_copy.bytes_copied
    assert total <= SIZE
    assert Path(osaka.client.volume("data").backing).read_bytes() == read_all(uri)
