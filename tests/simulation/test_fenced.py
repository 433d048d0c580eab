"""A fenced primary keeps its orphan tail until its operator has decided: its agent keeps quiet meanwhile."""

from __future__ import annotations

import pytest

from controller.api.models import Role
from hostagent.config import CopySettings
from tests.simulation.history import History

AT_WORK, CUT, HEALED, QUIET, END = 15.0, 16.0, 17.0, 40.0, 80.0


def superseded(seed: int, writes: int) -> History:
    """A site that takes over while the link is cut and the primary is written to; then the link is back."""
    history = History(seed)
    history.loss, history.slow, history.load = 0.0, 0.02, 5
    history.start_agent("tokyo")
    history.start_agent("osaka")
    history._acquire()
    history._tick()

    def cut() -> None:
        history.link_up = history.data_up = False
        history.load = 0
        history.primary.host_writes(history.now, writes)
        history.primary.flush()

    def heal() -> None:
        history.secondary.take_over(2, history.now)
        history.make_peace()

    history.after(CUT, cut)
    history.after(HEALED, heal)
    history.run_until(QUIET)
    return history


@pytest.mark.parametrize("writes", [20, 150])
def test_the_agents_of_a_fenced_primary_with_a_tail_exchange_at_the_idle_beat(writes: int) -> None:
    for seed in range(5):
        history = superseded(seed, writes)
        assert history.primary.role is Role.FENCED
        assert history.primary.durable > history.secondary.read, "no orphan tail"
        before = history.counts["ExchangeWithPeer"]
        history.run_until(END)
        exchanges = history.counts["ExchangeWithPeer"] - before
        assert 0 < exchanges <= 1.2 * (END - QUIET) / CopySettings().idle_beat_seconds, exchanges
