"""Compression of a pair: which of two records counts, and what the primary's agent orders."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.api.models import Compression, CompressionOrder, Links
from controller.errors import ConflictError
from hostagent.api.models import Pair
from hostagent.compression import compressed, known, refuse_beside_tls
from hostagent.config import CopySettings
from hostagent.copy_manager.actions import OrderCompression, QueryGroup
from hostagent.copy_manager.manager import CopyManager
from hostagent.limit import limited, newest_limit
from hostagent.status import pair_status
from tests.unit.hostagent.conftest import Scene
from tests.unit.hostagent.test_limit import MIB, pair
from tests.unit.hostagent.test_manager import asked, own_state


def packed(compression: Compression, serial: int, limit: int | None, limit_serial: int) -> Pair:
    made = pair(limit, limit_serial)
    change = {"compression": compression, "compression_serial": serial}
    return made.model_copy(update={"policy": made.policy.model_copy(update=change)})


RECORDS = st.builds(
    packed, st.sampled_from(Compression), st.integers(0, 3), st.none() | st.just(MIB), st.integers(0, 3)
)


@given(st.lists(RECORDS, min_size=1, max_size=4))
def test_in_whatever_order_records_meet_one_policy_is_left(records: list[Pair]) -> None:
    found = []
    for order in permutations(records):
        kept = order[0]
        for other in order[1:]:
            kept = newest_limit(kept, other)
        found.append(kept.policy)
    assert all(policy == found[0] for policy in found)


def test_limit_and_compression_change_apart() -> None:
    here, there = limited(pair(), MIB), compressed(pair(), Compression.ZSTD)
    for one, other in permutations((here, there)):
        policy = newest_limit(one, other).policy
        assert (policy.limit_bytes_per_second, policy.compression) == (MIB, Compression.ZSTD)
    assert compressed(there, Compression.ZSTD) is there
    assert newest_limit(there, compressed(there, Compression.NONE)).policy.compression is Compression.NONE


def test_the_primary_orders_it_and_looks_where_it_is_read(scene: Scene) -> None:
    facts = scene.facts()
    assert OrderCompression not in asked(scene, facts)
    facts.turn(compressed(facts.pair, Compression.ZSTD))
    order = asked(scene, facts, CopyManager(CopySettings()))[OrderCompression]
    assert isinstance(order, OrderCompression)
    assert order.order.compression is Compression.ZSTD
    own_state(facts).compression = Compression.ZSTD
    actions = asked(scene, facts, CopyManager(CopySettings()))
    assert OrderCompression not in actions
    assert QueryGroup in actions
    facts.links = Links(journal_uri="nbd://j", pointers_uri="nbd://p", volume_uris={}, relay="tokyo:7")
    assert known(facts, own_state(facts))


def test_it_is_refused_beside_tls() -> None:
    refuse_beside_tls(Compression.NONE, tls=True)
    refuse_beside_tls(Compression.ZSTD, tls=False)
    with pytest.raises(ConflictError, match=r"this site has \[tls\]"):
        refuse_beside_tls(Compression.ZSTD, tls=True)


def test_a_pair_whose_primary_refuses_to_compress_is_as_protected_as_before(scene: Scene) -> None:
    facts = scene.facts()
    before = pair_status(facts, scene.instant, CopySettings())
    order = OrderCompression(CompressionOrder(compression=Compression.ZSTD))
    facts.noted(scene.instant, order, ConflictError("this site has [tls]"))
    after = pair_status(facts, scene.instant, CopySettings())
    assert (after.state, after.line) == (before.state, before.line)
