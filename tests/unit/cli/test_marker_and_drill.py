"""`pairvol marker` and `pairvol drill`: what is asked, what is shown, and the exit codes."""

from __future__ import annotations

import pytest

from controller.api.drills import DrillCheck, DrillState
from controller.api.markers import NamedMarker
from controller.errors import PairvolError, PeerError
from hostagent.api.drills import DrillLedger, DrillReport, MarkerSides
from hostagent.cli.output import unstyled
from tests.unit.cli.conftest import Pairvol
from tests.unit.cli.fake_agent import FakeAgent
from tests.unit.cli.samples import TIME_NS, journal_sides

MARKER = NamedMarker(name="before-upgrade", sequence=4711, time_ns=TIME_NS)


def report(passed: bool | None = None, state: DrillState = DrillState.OPEN) -> DrillReport:
    check = None
    if passed is not None:
        check = DrillCheck(
            command="fsck",
            passed=passed,
            exit_code=0 if passed else 4,
            seconds=1.5,
            sequence=4711,
            time_ns=TIME_NS,
            output="clean\n",
        )
    return DrillReport(
        number=3,
        group="db",
        site="osaka",
        state=state,
        generation=1,
        sequence=4711,
        sequence_time_ns=TIME_NS,
        started_ns=TIME_NS,
        lag_seconds=0.2,
        ready_seconds=0.41,
        images=[],
        check=check,
        devices={"data": "/dev/loop7"},
    )


def test_marker_put_says_where_it_is(agent: FakeAgent, pairvol: Pairvol) -> None:
    agent.answers["POST /v1/markers/db"] = MARKER.model_dump(mode="json")
    done = pairvol("marker", "put", "db", "before-upgrade")
    assert done.code == 0
    assert unstyled(done.out).startswith("before-upgrade: sequence 4\N{THIN SPACE}711, ")
    assert agent.requests[-1][2] == {"name": "before-upgrade", "freeze": False}
    assert pairvol("marker", "put", "db", "before-upgrade", "--json").json["sequence"] == 4711


def test_marker_wait_ends_when_it_is_restored_and_fails_when_its_time_is_over(
    agent: FakeAgent, pairvol: Pairvol
) -> None:
    agent.answers["POST /v1/markers/db"] = MARKER.model_dump(mode="json")
    sides = journal_sides(TIME_NS, 100_000)
    assert sides.secondary is not None
    restored = sides.secondary.pointers["already_restored"].sequence
    agent.answers["GET /v1/journals/db"] = sides.model_dump(mode="json")
    agent.answers["POST /v1/markers/db"]["sequence"] = restored
    assert pairvol("marker", "put", "db", "m", "--wait").code == 0
    agent.answers["POST /v1/markers/db"]["sequence"] = restored + 1
    late = pairvol("marker", "put", "db", "m", "--wait", "--timeout", "0ms")
    assert late.code == 50
    assert f"journal {restored + 1} of db was not restored within 0 s" in late.err


def test_a_name_that_is_none_is_refused_before_anything_is_asked(agent: FakeAgent, pairvol: Pairvol) -> None:
    refused = pairvol("marker", "put", "db", "not a name")
    assert refused.code == 2
    assert "is not a name, as NAME must be" in refused.err
    assert agent.requests == []


def test_marker_list_shows_both_sites(agent: FakeAgent, pairvol: Pairvol, monkeypatch: pytest.MonkeyPatch) -> None:
    older = MARKER.model_copy(update={"name": "older", "sequence": 12})
    sides = MarkerSides(primary=[older, MARKER], secondary=[older])
    agent.answers["GET /v1/markers/db"] = sides.model_dump(mode="json")
    lines = unstyled(pairvol("marker", "list", "db").out).splitlines()
    assert (lines[1].split()[0], lines[1].split()[-2:]) == ("older", ["yes", "yes"])
    assert lines[2].split()[0] == "before-upgrade"
    assert lines[2].split()[-2:] == ["yes", "-"]
    monkeypatch.setattr("time.time_ns", lambda: TIME_NS)
    silent = MarkerSides(primary=None, secondary=[], unknown_since_ns={"tokyo": TIME_NS})
    agent.answers["GET /v1/markers/db"] = silent.model_dump(mode="json")
    assert pairvol("marker", "list", "db").lines == ["no markers", "tokyo unknown since 14:15:03Z"]


def test_drill_start_shows_devices_and_the_checks_result(agent: FakeAgent, pairvol: Pairvol) -> None:
    agent.answers["POST /v1/drills/db"] = report(True).model_dump(mode="json")
    agent.answers["POST /v1/drills/db/3/confirm"] = report(True).model_dump(mode="json")
    good = pairvol("drill", "start", "db", "--check", "fsck {device}")
    assert good.code == 0
    assert "data: /dev/loop7" in good.lines
    assert "check OK in 1.5 s" in unstyled(good.out)
    (_, _, asked), confirmed = agent.requests[-2:]
    assert (asked["check"], asked["confirms"]) == ("fsck {device}", True)
    assert confirmed == ("POST", "/v1/drills/db/3/confirm", None)
    agent.answers["POST /v1/drills/db/3/confirm"] = report(False).model_dump(mode="json")
    bad = pairvol("drill", "start", "db", "--check", "fsck {device}")
    assert bad.code == 2
    assert "check FAILED (4)" in unstyled(bad.out)
    assert pairvol("drill", "start", "db", "--json").json["check"]["exit_code"] == 4


def test_drill_stop_and_list(agent: FakeAgent, pairvol: Pairvol, monkeypatch: pytest.MonkeyPatch) -> None:
    agent.answers["DELETE /v1/drills/db"] = [report(state=DrillState.STOPPED).model_dump(mode="json")]
    assert pairvol("drill", "stop", "db", "3").out == "drill 3 stopped\n"
    monkeypatch.setattr("time.time_ns", lambda: TIME_NS)
    ledger = DrillLedger(drills=[report(True)], silent=["kyoto", "nara"], unknown_since_ns={"kyoto": TIME_NS})
    agent.answers["GET /v1/drills"] = ledger.model_dump(mode="json")
    listed = unstyled(pairvol("drill", "list").out).splitlines()
    assert listed[0].split() == ["ID", "GROUP", "SITE", "STARTED", "STATE", "SEQ", "RPO", "READY", "CHECK", "DEVICES"]
    assert "0.2 s" in listed[1]
    assert "0.41 s" in listed[1]
    assert listed[2:] == [
        'restore of db waits for drill 3; end it with "pairvol drill stop db 3"',
        "kyoto unknown since 14:15:03Z",
        "nara unknown",
    ]
    unheard = report().model_copy(update={"lease_seconds": 60.0})
    agent.answers["GET /v1/drills"] = DrillLedger(drills=[unheard]).model_dump(mode="json")
    assert pairvol("drill", "list").lines[-1] == (
        "restore of db waits for drill 3, which nobody has confirmed and which ends by itself; "
        'end it with "pairvol drill stop db 3"'
    )
    agent.refusal = PairvolError("no")
    assert pairvol("drill", "stop", "db").code == 2


def test_a_drill_that_cannot_be_confirmed_is_named(agent: FakeAgent, pairvol: Pairvol) -> None:
    agent.answers["POST /v1/drills/db"] = report().model_dump(mode="json")
    agent.answers["POST /v1/drills/db/3/confirm"] = PeerError("osaka does not answer")
    lost = pairvol("drill", "start", "db")
    assert (lost.code, lost.out) == (50, "")
    assert "drill 3 of db was opened, and could not be confirmed" in lost.err
    assert 'end it with "pairvol drill stop db 3"' in lost.err
