"""`pairvol pair status --history`: what was achieved."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.unit.cli.conftest import Pairvol
from tests.unit.cli.fake_agent import FakeAgent
from tests.unit.cli.samples import TIME_NS

SECOND = 1_000_000_000
PERCENTILES = {"p50": 0.0, "p95": 0.04, "p99": 0.5, "max": 2.5}


def past(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "group": "db",
        "site": "tokyo",
        "since_ns": TIME_NS,
        "until_ns": TIME_NS + 86_400 * SECOND,
        "recorded_seconds": 86_000.0,
        "protected_seconds": 85_900.0,
        "unprotected_seconds": 100.0,
        "unprotected_seconds_max": 80.0,
        "states": [
            {"state": "PAIR", "seconds": 85_900.0, "spells": 3},
            {"state": "PFUS", "seconds": 100.0, "spells": 2},
        ],
        "changes": [{"state": "PAIR", "since_ns": TIME_NS, "seconds": 85_900.0, "ended": False}],
        "lag_seconds": PERCENTILES,
        "lag_bytes": {"p50": 0, "p95": 4096, "p99": 1 << 20, "max": 1 << 30},
        "takeovers": [
            {
                "site": "osaka",
                "ended_ns": TIME_NS,
                "kind": "forced",
                "generation": 2,
                "seconds": 0.42,
                "lag_seconds": None,
                "lag_seconds_max": 7.0,
                "missing_journals": None,
                "missing_bytes": None,
                "restored_sequence": 9,
                "restored_time_ns": TIME_NS,
            }
        ],
        "takeover_seconds": {"p50": 0.42, "p95": 0.42, "p99": 0.42, "max": 0.42},
        "drills": [],
        "drill_ready_seconds": None,
        "silent": ["osaka"],
    }
    return values | changes


def test_a_takeover_from_a_safe_point_shows_what_it_dropped(agent: FakeAgent, pairvol: Pairvol) -> None:
    told = past()
    told["takeovers"][0] |= {"from_safe_point": True, "journals_dropped": 12}
    agent.answers["GET /v1/pairs/db/history"] = told
    shown = pairvol("pair", "status", "db", "--history")
    assert "back to a safe point, 12 journals dropped, the rest cannot be known" in shown.out


def test_it_says_what_was_achieved(agent: FakeAgent, pairvol: Pairvol) -> None:
    agent.answers["GET /v1/pairs/db/history"] = past()
    shown = pairvol("pair", "status", "db", "--history")
    assert shown.code == 0
    assert shown.lines[0].startswith("db was protected 99.88 % of the 23 h 53 min recorded by tokyo since ")
    assert shown.lines[1] == "without protection 1 min 40 s, at most 1 min 20 s at a time"
    assert "PFUS    1 min 40 s   0.12 %       2" in shown.lines
    assert "seconds  0.0 s  0.04 s  0.50 s  2.5 s" in shown.lines
    assert "bytes      0 B   4 KiB   1 MiB  1 GiB" in shown.lines
    assert "0.42 s  at most 7.0 s  cannot be known" in shown.out
    assert "RTO: p50 0.42 s, p95 0.42 s, p99 0.42 s, max 0.42 s" in shown.lines
    assert "no drills" in shown.lines
    assert shown.lines[-1] == "osaka does not answer: what only it knows is missing"


def test_json_is_the_agents_answer(agent: FakeAgent, pairvol: Pairvol) -> None:
    agent.answers["GET /v1/pairs/db/history"] = past()
    told = pairvol("pair", "status", "db", "--history", "--json").json
    assert told["lag_seconds"] == PERCENTILES
    assert told["takeovers"][0]["missing_journals"] is None


@pytest.mark.parametrize(("words", "back"), [([], 86_400), (["--since", "-15m"], 900)])
def test_since_when(agent: FakeAgent, pairvol: Pairvol, words: list[str], back: int) -> None:
    agent.answers["GET /v1/pairs/db/history"] = past()
    pairvol("pair", "status", "db", "--history", *words)
    asked = int(agent.requests[-1][1].partition("since_ns=")[2])
    assert abs(time.time_ns() - back * SECOND - asked) < 60 * SECOND


def test_a_moment_with_its_zone(agent: FakeAgent, pairvol: Pairvol) -> None:
    agent.answers["GET /v1/pairs/db/history"] = past()
    assert pairvol("pair", "status", "db", "--since", "2026-09-20T10:15:03Z").code == 0
    assert agent.requests[-1][1].endswith("since_ns=1789899303000000000")
    refused = pairvol("pair", "status", "db", "--since", "2026-09-20T10:15:03")
    assert (refused.code, refused.err.splitlines()[0]) == (2, "pairvol: time '2026-09-20T10:15:03' has no zone")


def test_a_pair_of_which_nothing_is_recorded(agent: FakeAgent, pairvol: Pairvol) -> None:
    nothing = past(recorded_seconds=0, protected_seconds=0, unprotected_seconds=0, unprotected_seconds_max=0)
    nothing |= {"states": [], "changes": [], "lag_seconds": None, "lag_bytes": None, "takeovers": [], "silent": []}
    agent.answers["GET /v1/pairs/db/history"] = nothing
    shown = pairvol("pair", "status", "db", "--history")
    assert shown.code == 0
    assert {"no states recorded", "no lag recorded", "no takeovers", "no drills"} <= set(shown.lines)


def test_all_pairs_at_once_are_refused(agent: FakeAgent, pairvol: Pairvol) -> None:
    refused = pairvol("pair", "status", "--history")
    assert refused.code == 2
    assert "give one GROUP" in refused.err
