"""A takeover that names no site, shortly after another one."""

from __future__ import annotations

import pytest

from controller.errors import ConflictError
from hostagent.api.models import Pair, PairPolicy, SiteVolumes, TakeoverOrder
from hostagent.life.served import BLIND_SECONDS, refuse_blind_return
from hostagent.life.turn import turned

SECOND = 10**9
HANDED = 1_700_000_000 * SECOND
PAIR = Pair(
    group="db",
    uuid="6a0f2c0e-7a44-4a1e-9f8e-0d7b7e6b1c11",
    generation=1,
    primary=SiteVolumes(site="tokyo", volumes=["data"]),
    secondary=SiteVolumes(site="osaka", volumes=["data"]),
    initial_copy="direct",
    policy=PairPolicy(),
    created_ns=1,
)
BLIND = TakeoverOrder(to="tokyo", named=False)


def test_it_is_refused_with_the_rule_and_the_way() -> None:
    pair = turned(PAIR, 2, HANDED)
    for now in (HANDED + 8 * SECOND, HANDED - 3 * SECOND):  # the other site's clock may be ahead
        with pytest.raises(ConflictError, match=r"without a site's name: osaka took over [08] s ago") as caught:
            refuse_blind_return(pair, BLIND, now)
        assert 'To go back say "pairvol pair takeover db --to tokyo"' in caught.value.hint


@pytest.mark.parametrize(
    ("pair", "order", "seconds"),
    [
        (turned(PAIR, 2, HANDED), BLIND, BLIND_SECONDS),
        (turned(PAIR, 2, HANDED), TakeoverOrder(to="tokyo"), 1),
        (turned(PAIR, 2, HANDED), TakeoverOrder(to="osaka", named=False), 1),  # done already
        (turned(PAIR, 2), BLIND, 1),  # a swap, which names the direction
        (PAIR, TakeoverOrder(to="osaka", named=False), 1),
    ],
)
def test_it_is_taken_otherwise(pair: Pair, order: TakeoverOrder, seconds: float) -> None:
    refuse_blind_return(pair, order, HANDED + int(seconds * SECOND))
