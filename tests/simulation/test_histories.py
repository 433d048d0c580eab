"""The copy manager in many seeded histories; each mutant must be caught by some of them."""

from __future__ import annotations

import os
from collections import Counter
from functools import partial

import pytest

from hostagent.copy_manager import facts, lag
from hostagent.copy_manager.looks import Missing
from hostagent.pairs import PairEvent
from tests.simulation.history import History
from tests.simulation.mutants import MUTANTS
from tests.simulation.timeline import NoConvergenceError, ViolationError

HISTORIES = int(os.environ.get("PAIRVOL_HISTORIES", "300"))
FIRST_SEED = int(os.environ.get("PAIRVOL_FIRST_SEED", "0"))
MUTANT_HISTORIES = 600


def test_histories_are_safe_and_come_to_rest() -> None:
    counts: Counter[str] = Counter()
    for seed in range(FIRST_SEED, FIRST_SEED + HISTORIES):
        history = History(seed)
        try:
            history.run()
        except Exception as error:
            raise AssertionError(f"replay with: python -m tests.simulation.history {seed}") from error
        counts += history.counts
    print(f"{HISTORIES} histories from seed {FIRST_SEED}: {dict(sorted(counts.items()))}")
    # A fault or state that was never reached proves nothing.
    for kind in (
        "agent crashes",
        "controller crashes",
        "link cuts",
        "takeovers",
        "sites lost",
        "clock steps",
        "lags held",
        "disk errors",
        "data link cuts",
        "OrderServe",
        "OrderFence",
        "OrderRestore",
        "OrderResume",
        "OrderResync",
        "OrderClearEpoch",
    ):
        assert counts[kind] > 0, f"no history had {kind}"
    for event in (PairEvent.COPYING, PairEvent.PROTECTED, PairEvent.FILLING, PairEvent.FULL, PairEvent.FAILED):
        assert counts[f"seen {event}"] > 0, f"no history was seen {event}"


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_mutant_is_caught(name: str) -> None:
    caught = 0
    for seed in range(MUTANT_HISTORIES):
        try:
            History(seed, MUTANTS[name]).run()
        except (ViolationError, NoConvergenceError):
            caught += 1
            break
    assert caught, f"{MUTANT_HISTORIES} histories did not catch the mutant {name}"


def test_a_lag_that_believes_the_times_in_journals_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    believed = partial(lag.measure, seen=Missing(0.0, 0.0))
    monkeypatch.setattr(facts, "measure", lambda *known: believed(*known[:4]))

    def run_all() -> None:
        for seed in range(MUTANT_HISTORIES):
            History(seed).run()

    with pytest.raises(ViolationError, match="journals are missing for"):
        run_all()


def test_faults_go_on_to_the_end_of_every_other_history() -> None:
    history = History(1)
    history.run()
    assert not history.peace
    assert history.counts["faults"] > 5
    assert not History(2).endless


@pytest.mark.parametrize("seed", [6, 7])
def test_a_history_replays_exactly(seed: int) -> None:
    first, second = History(seed), History(seed)
    first.run()
    second.run()
    assert first.counts == second.counts
    assert first.describe() == second.describe()
