"""The bandwidth limit of a pair: given to either host, durable at both, in force at the secondary's controller."""

from __future__ import annotations

import random

import pytest

from controller.api.models import CopyState
from hostagent.api.models import PairState
from hostagent.cli.demo.sites import Daemon
from hostagent.client import Agent
from tests.integration.hostagent.conftest import VOLUME_BYTES, Case
from tests.support.nbdkit import connected
from tests.support.waiting import wait_until

pytestmark = pytest.mark.e2e
MIB = 1 << 20


def in_force(case: Case, limit: int | None) -> None:
    """Wait until both records and the secondary's controller say so."""

    def known(agent: Agent) -> bool:
        pair = next(pair for pair in agent.pairs() if pair.group == case.name)
        return pair.policy.limit_bytes_per_second == limit

    def obeyed() -> bool:
        state = case.tokyo.journal(case.name).secondary
        return state is not None and state.limit_bytes_per_second == limit

    wait_until(lambda: known(case.tokyo) and known(case.osaka) and obeyed(), 30, f"a limit of {limit}", interval=0.1)


def test_it_is_made_changed_and_lifted_while_the_copy_runs(case: Case) -> None:
    case.make_volume()
    uri = case.tokyo.volume(case.name).uri
    assert uri is not None
    with connected(uri) as handle:
        handle.pwrite(random.Random(3).randbytes(VOLUME_BYTES), 0)
        handle.flush()
    made = case.tokyo.create_pair(case.order(policy={"limit_bytes_per_second": MIB // 2}))
    assert made.limit_bytes_per_second == MIB // 2
    case.linked.join_data_link(case.name)
    in_force(case, MIB // 2)
    assert case.osaka.set_pair(case.name, MIB).limit_bytes_per_second == MIB
    in_force(case, MIB)
    before = case.tokyo.journal(case.name).secondary
    assert before is not None
    assert before.initial_copy.state is CopyState.RUNNING
    case.tokyo.set_pair(case.name, None)
    in_force(case, None)
    case.wait_state(PairState.PAIR)
    after = case.tokyo.journal(case.name).secondary
    assert after is not None
    assert before.initial_copy.bytes_done <= after.initial_copy.bytes_copied <= VOLUME_BYTES  # not begun anew


def test_a_host_that_was_away_learns_it(case: Case) -> None:
    case.pair()
    osaka = case.linked.second
    osaka.kill(Daemon.AGENT)
    case.tokyo.set_pair(case.name, 8 * MIB)
    osaka.start(Daemon.AGENT)
    osaka.wait_ready()
    in_force(case, 8 * MIB)
    case.write(5)
    case.wait_restored(5)
