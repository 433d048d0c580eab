"""The ledger of two real sites: lag, states, takeovers and drills, also after every agent was killed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hostagent.api.drills import DrillOrder
from hostagent.api.history import PairHistory
from hostagent.api.models import PairState
from hostagent.cli.demo.sites import Daemon
from tests.integration.hostagent.conftest import Case
from tests.support.processes import PROJECT
from tests.support.replication import agent_socket
from tests.support.scrapes import Scrape
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


@contextmanager
def following(case: Case) -> Iterator[Path]:
    """What `events --follow` prints meanwhile, asked at osaka over its Unix socket."""
    path = case.linked.sites.directory / "followed"
    words = ["events", "--follow", "--agent", agent_socket(case.linked.second)]
    with path.open("wb") as file:
        program = subprocess.Popen([sys.executable, "-m", "hostagent.cli.main", *words], stdout=file, cwd=PROJECT)
    try:
        wait_until(lambda: "agent.started" in path.read_text(), 20, "the first events")
        yield path
    finally:
        program.terminate()
        program.wait(20)


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
    drilled = Scrape.of(f"{case.linked.second.agent_url}/metrics/controller")
    assert drilled.value("pairvol_drill_last_check_passed", group=case.name) == 1
    assert drilled.value("pairvol_drill_last_ready_seconds", group=case.name) == drill.ready_seconds
    assert drilled.value("pairvol_group_drills_open", group=case.name) == 1
    case.tokyo.stop_drill(case.name)
    report = case.tokyo.take_over(case.name)
    assert report.kind == "planned"
    before = {site.name: case.linked.agent(site).pair_history(case.name) for site in case.linked.sites}
    with following(case) as events:
        restart_agents(case)
        wait_until(lambda: events.read_text().count("agent.started") >= 2, 20, "the event of the new agent")
    numbers = [json.loads(line)["number"] for line in events.read_text().splitlines()]
    assert numbers == sorted(set(numbers))
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
