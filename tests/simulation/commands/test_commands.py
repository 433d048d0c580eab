"""A few histories with an operator; `make crash SUITE=commands` runs a thousand of them, and the controls."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from controller.api.models import CopyState, JournalState, Role
from hostagent.api.models import TakeoverOrder, TakeoverReport
from hostagent.commands import takeover
from tests.simulation.commands.agents import SimRunner
from tests.simulation.commands.fibers import Fiber
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


def test_one_of_two_commands_that_decide_otherwise_at_once_is_refused() -> None:
    """The new primary is kept by a takeover given again, while the other site's operator keeps the old one."""
    history = CommandHistory(99)
    history.run()
    assert history.counts["refused"] > 0


@pytest.mark.parametrize("cut_short", [False, True])
def test_a_takeover_that_goes_back_to_a_safe_point_is_forced_and_says_what_it_drops(cut_short: bool) -> None:
    history = CommandHistory(3)
    history.loss, osaka = 0.0, history.sites["osaka"]
    reports: list[object] = []

    def give() -> None:
        order = TakeoverOrder(force=True, to="osaka")
        agent = history.agents["osaka"]
        history.spawn(agent, lambda fiber: takeover.take_over(agent.host(fiber), "db", order), reports.append)

    with history._clock():
        for name in history.agents:
            history.start_agent(name)
        history.after(0, history._tick)
        assert history.run_until(30, lambda: osaka.state_of_copy is CopyState.DONE and osaka.restored > 10)
        osaka.safe, osaka.consistent = (osaka.restored - 5, (0,) * len(osaka.content)), None
        give()
        if cut_short:  # the controller has taken over, and the agent dies before it keeps anything of that
            assert history.run_until(60, lambda: osaka.role is Role.TAKEN_OVER)
            history.crash_agent("osaka")
            assert history.run_until(70, lambda: history.agents["osaka"].up)
            give()
        assert history.run_until(90, lambda: bool(reports))
    [report] = reports
    assert isinstance(report, TakeoverReport), report
    assert (report.kind, report.from_safe_point, report.reversed) == ("forced", True, False)
    assert report.journals_dropped >= 5
    assert not report.lost_nothing


@pytest.mark.parametrize("silent", [True, False])
def test_a_takeover_calls_a_silent_site_once(monkeypatch: pytest.MonkeyPatch, silent: bool) -> None:
    """Its own thread goes on calling there; the command would wait as long once more, and nobody serves meanwhile."""
    history = CommandHistory(5)
    history.loss, osaka = 0.0, history.sites["osaka"]
    ended: list[tuple[object, int]] = []
    called = 0
    exchange = SimRunner.exchange

    def count(runner: SimRunner, seconds: float = 1.0) -> JournalState | None:
        nonlocal called
        called += 1
        return exchange(runner, seconds)

    monkeypatch.setattr(SimRunner, "exchange", count)

    def command(fiber: Fiber) -> TakeoverReport:
        return takeover.take_over(history.agents["osaka"].host(fiber), "db", TakeoverOrder(to="osaka"))

    with history._clock():
        for name in history.agents:
            history.start_agent(name)
        history.after(0, history._tick)
        assert history.run_until(30, lambda: osaka.state_of_copy is CopyState.DONE and osaka.restored > 10)
        if silent:
            history.link_up = history.data_up = False
            history.crash_agent("tokyo", 100.0)
        history.spawn(history.agents["osaka"], command, lambda result: ended.append((result, called)))
        assert history.run_until(90, lambda: bool(ended))
    [(report, count_then)] = ended
    assert isinstance(report, TakeoverReport), report
    assert report.kind == ("forced" if silent else "planned")
    assert (count_then == 1) is silent


def test_a_person_keeps_the_old_primary_after_a_takeover() -> None:
    for seed in range(300):
        history = CommandHistory(seed)
        history.run()
        if history.counts["taken back"]:
            return
    raise AssertionError("no history had it")


def test_a_history_replays_exactly() -> None:
    first, second = CommandHistory(561), CommandHistory(561)
    first.run()
    second.run()
    assert (first.counts, first.describe()) == (second.counts, second.describe())
