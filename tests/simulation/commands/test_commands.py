"""A few histories with an operator; `make crash SUITE=commands` runs a thousand of them, and the controls."""

from __future__ import annotations

import os
from collections import Counter

from tests.simulation.commands.history import CommandHistory

HISTORIES = int(os.environ.get("PAIRVOL_COMMAND_HISTORIES", "30"))


def test_commands_cut_at_any_step_are_safe_and_converge() -> None:
    counts: Counter[str] = Counter()
    for seed in range(HISTORIES):
        history = CommandHistory(seed)
        try:
            history.run()
        except Exception as error:
            raise AssertionError(f"replay with: python -m tests.simulation.commands.history {seed}") from error
        counts += history.counts
    print(f"{HISTORIES} histories: {dict(sorted(counts.items()))}")
    for kind in ("deaths in commands", "planned", "OrderPromote", "OrderDemote", "OrderClearEpoch", "OrderResync"):
        assert counts[kind] > 0, f"no history had {kind}"


def test_a_history_replays_exactly() -> None:
    first, second = CommandHistory(561), CommandHistory(561)
    first.run()
    second.run()
    assert (first.counts, first.describe()) == (second.counts, second.describe())
