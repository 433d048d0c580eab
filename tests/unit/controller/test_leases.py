"""Leases of drills: what lapses is told, and a drill that was confirmed is not ended by what is left of its lease."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from controller.api.drills import Drill, DrillState
from controller.drills import unattended
from controller.drills.leases import Leases


def drill(lease_seconds: float | None) -> Drill:
    return Drill(
        number=7,
        group="db",
        state=DrillState.OPEN,
        generation=1,
        sequence=1,
        sequence_time_ns=1,
        started_ns=1,
        images=[],
        lease_seconds=lease_seconds,
    )


@pytest.mark.parametrize(("lease_seconds", "ends"), [(60.0, True), (None, False)])
def test_a_lease_that_lapses_ends_what_nobody_confirmed(
    monkeypatch: pytest.MonkeyPatch, lease_seconds: float | None, ends: bool
) -> None:
    ended: list[int] = []
    monkeypatch.setattr(unattended, "finish", lambda appliance, over, *words: ended.append(over.number))
    group = SimpleNamespace(name="db", drills=[drill(lease_seconds)])
    leases = Leases()
    appliance: Any = SimpleNamespace(
        store=SimpleNamespace(document=SimpleNamespace(groups={"db": group})),
        locks=SimpleNamespace(hold=lambda **names: nullcontext()),
        leases=leases,
    )
    leases.renew(7, -1.0)  # its agent renewed it while it was confirmed, and knows better since
    unattended._lapsed(appliance, 7)
    assert ended == ([7] if ends else [])
    assert leases.lapsed(7) is ends


def test_it_is_told_again_until_it_is_renewed_or_dropped() -> None:
    leases = Leases()
    leases.renew(1, -1.0)
    leases.renew(2, 3600.0)
    told: list[int] = []

    def tell(number: int) -> None:
        told.append(number)
        leases.drop(number)

    leases.watch(tell)
    leases.renew(3, -1.0)
    while len(told) < 2:
        assert not leases.lapsed(2)
    leases.close()
    assert sorted(told) == [1, 3]
