"""A compressed pair between two sites: made so, turned off and on by either agent while it runs."""

from __future__ import annotations

from controller.api.models import Compression
from hostagent.api.models import PairState, PairStatus
from tests.integration.hostagent.conftest import Case
from tests.support.waiting import wait_until


def in_force(case: Case, compression: Compression) -> PairStatus:
    """The link is read so, and both agents say it."""

    def found() -> PairStatus | None:
        statuses = [agent.pair_status(case.name) for agent in (case.tokyo, case.osaka)]
        agreed = all((each.compression, each.compression_now) == (compression, compression) for each in statuses)
        return statuses[0] if agreed else None

    status = wait_until(found, 40, f"compression {compression}", interval=0.1)
    assert status is not None
    return status


def relayed(case: Case) -> None:
    """The proxy of the data link also stands before the relay."""

    def named() -> bool:
        links = case.linked.group(case.linked.first, case.name).links
        return links is not None and links.relay is not None

    wait_until(named, 20, "the relay to be named", interval=0.1)
    case.linked.join_data_link(case.name)


def test_it_is_made_turned_off_and_on_while_the_pair_runs(case: Case) -> None:
    case.make_volume()
    case.tokyo.create_pair(case.order(policy={"compression": "zstd"}))
    case.linked.join_data_link(case.name)
    case.wait_state(PairState.PAIR)
    case.write(5)
    case.wait_restored(5)
    relayed(case)
    in_force(case, Compression.ZSTD)
    assert case.osaka.compress_pair(case.name, Compression.NONE).compression is Compression.NONE
    in_force(case, Compression.NONE)
    case.write(6)
    case.tokyo.compress_pair(case.name, Compression.ZSTD)
    relayed(case)
    in_force(case, Compression.ZSTD)
    case.write(7)
    case.wait_restored(7)
    status = case.tokyo.pair_status(case.name)
    assert status.state is PairState.PAIR
    assert status.wire_bytes is not None
    assert status.transfer_bytes is not None
    assert status.wire_bytes < status.transfer_bytes
