"""The ledger of two real sites: lag, states, takeovers and drills, also after every agent was killed."""

from __future__ import annotations

import pytest

from hostagent.api.drills import DrillOrder
from hostagent.api.history import PairHistory
from hostagent.api.models import PairState
from hostagent.cli.demo.sites import Daemon
from tests.integration.hostagent.conftest import Case
from tests.support.stamps import StampLog
from tests.support.waiting import wait_until
from tests.support.writers import StampedWriter

pytestmark = pytest.mark.e2e


def restart_agents(case: Case) -> None:
    for site in case.linked.sites:
        site.kill(Daemon.AGENT)
        site.start(Daemon.AGENT)
    for site in case.linked.sites:
        site.wait_ready()


def seen_lag(case: Case) -> bool:
    lag = case.tokyo.pair_history(case.name).lag_bytes
    return lag is not None and lag.max > 0


@pytest.mark.root
def test_a_drill_and_a_planned_takeover_after_which_the_agents_were_killed(case: Case) -> None:
    case.pair()
    uri = case.tokyo.volume(case.name).uri
    assert uri is not None
    with StampedWriter(uri, 0, StampLog(), seed=3):
        wait_until(lambda: seen_lag(case), 20, "a lag in the ledger")
        drill = case.tokyo.start_drill(case.name, DrillOrder(check="true"))
    case.tokyo.stop_drill(case.name)
    report = case.tokyo.take_over(case.name)
    assert report.kind == "planned"
    before = {site.name: case.linked.agent(site).pair_history(case.name) for site in case.linked.sites}
    restart_agents(case)
    for site in case.linked.sites:
        past = case.linked.agent(site).pair_history(case.name)
        check(past, before[site.name])
        [taken] = past.takeovers
        assert (taken.site, taken.kind, taken.generation) == ("osaka", "planned", 2)
        assert (taken.missing_journals, taken.lag_seconds) == (0, 0.0)
        assert taken.seconds == pytest.approx(report.seconds, abs=0.001)
        [rehearsed] = past.drills
        assert (rehearsed.number, rehearsed.ready_seconds) == (drill.number, drill.ready_seconds)
        assert rehearsed.check is not None
        assert rehearsed.check.passed


def check(past: PairHistory, before: PairHistory) -> None:
    """What was recorded stays; time goes on; the parts make up the whole."""
    assert past.silent == []
    asked = (past.until_ns - past.since_ns) / 1e9
    assert before.recorded_seconds - 61 <= past.recorded_seconds <= asked + 0.01
    assert past.lag_bytes is not None
    assert past.recorded_seconds == pytest.approx(past.protected_seconds + past.unprotected_seconds, abs=0.01)
    assert past.recorded_seconds == pytest.approx(sum(each.seconds for each in past.states), abs=0.01)
    known = [(each.state, each.since_ns) for each in before.changes[:-1]]  # the last may be too young to be known
    assert [(each.state, each.since_ns) for each in past.changes][: len(known)] == known
    assert {PairState.PAIR, PairState.COPY} <= {each.state for each in past.states}
