"""A bandwidth limit in the records of a pair: the newest one counts at both sites, whichever way they meet."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostagent.api.models import Pair, PairPolicy, SiteVolumes
from hostagent.life.turn import turned
from hostagent.limit import limited, newest_limit
from hostagent.pairs import PairStore

MIB = 1 << 20


def pair(limit: int | None = None, serial: int = 0) -> Pair:
    return Pair(
        group="db",
        uuid="3b241101-e2bb-4255-8caf-4136c566a962",
        generation=1,
        primary=SiteVolumes(site="tokyo", volumes=["data"]),
        secondary=SiteVolumes(site="osaka", volumes=["data"]),
        initial_copy="direct",
        policy=PairPolicy(limit_bytes_per_second=limit, limit_serial=serial),
        created_ns=1,
    )


RECORDS = st.builds(pair, st.none() | st.integers(64 << 10, 64 * MIB), st.integers(0, 3))


@given(st.lists(RECORDS, min_size=1, max_size=4))
def test_in_whatever_order_records_meet_one_limit_is_left(records: list[Pair]) -> None:
    found = set()
    for order in permutations(records):
        kept = order[0]
        for other in order[1:]:
            kept = newest_limit(kept, other)
        found.add((kept.policy.limit_serial, kept.policy.limit_bytes_per_second))
    assert len(found) == 1


def test_a_change_is_newer_than_what_it_changes() -> None:
    ten = limited(pair(), 10 * MIB)
    none = limited(ten, None)
    assert newest_limit(ten, none) == none
    assert newest_limit(none, ten) == none
    assert limited(none, None) == none


def test_it_stays_when_the_direction_turns() -> None:
    assert turned(limited(pair(), MIB), 2).policy.limit_bytes_per_second == MIB


def test_a_late_record_takes_no_limit_back(tmp_path: Path) -> None:
    store = PairStore(tmp_path / "pairs.json")
    store.put(limited(pair(), MIB))
    store.put(pair().model_copy(update={"generation": 2}))
    kept = PairStore(tmp_path / "pairs.json").get("db")
    assert (kept.generation, kept.policy.limit_bytes_per_second) == (2, MIB)


@pytest.mark.parametrize("limit", [0, -1, 65535])
def test_nonsense_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match="greater than or equal to 65536"):
        pair(limit)
