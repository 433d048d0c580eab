"""`pairvol pair verify`: what is asked of the agent, what is shown, and the exit code."""

from __future__ import annotations

from typing import Any

import pytest

from hostagent.api.verify import VerifyReport
from hostagent.cli.progress import Look
from hostagent.cli.session import Session
from hostagent.cli.verify import Comparison
from tests.unit.cli.conftest import Pairvol
from tests.unit.cli.fake_agent import FakeAgent

PLACE = {"volume": "data", "offset": 65536, "length": 65536, "sequence": 44}


def report(**changes: Any) -> dict[str, Any]:
    values = {"group": "db", "task": "t", "phase": "done", "verdict": "OK", "line": "db is identical"}
    return VerifyReport.model_validate(values | changes).model_dump(mode="json")


@pytest.mark.parametrize(
    ("answer", "code", "first"),
    [
        (report(), 0, "OK    db is identical"),
        (report(verdict="CRIT", line="db differs", next_command="pairvol pair verify db --repair", different=[PLACE]),
         40, "CRIT  db differs; next: pairvol pair verify db --repair"),
        (report(verdict="WARN", phase="held", line="verify of db waits", next_command="pairvol drill stop db"), 1,
         "WARN  verify of db waits; next: pairvol drill stop db"),
        (report(verdict="WARN", phase="interrupted", line="verify of db was interrupted"), 1,
         "WARN  verify of db was interrupted"),
    ],
)  # fmt: skip
def test_one_line_and_an_exit_code(
    agent: FakeAgent, pairvol: Pairvol, answer: dict[str, Any], code: int, first: str
) -> None:
    agent.answers["POST /v1/pairs/db/verify"] = report(phase="running", verdict="WARN", line="verifying db 3 %")
    agent.answers["GET /v1/pairs/db/verify"] = answer
    shown = pairvol("pair", "verify", "db", "--repair")
    assert (shown.code, shown.lines) == (code, [first])
    assert ("POST", "/v1/pairs/db/verify", {"repair": True, "cancel": False}) in agent.requests
    assert pairvol("pair", "verify", "db", "--json").json["line"] == answer["line"]


def test_many_regions_are_listed(agent: FakeAgent, pairvol: Pairvol) -> None:
    places = [PLACE | {"offset": number << 20} for number in range(5)]
    agent.answers["GET /v1/pairs/db/verify"] = report(verdict="CRIT", line="db differs", different=places)
    shown = pairvol("pair", "verify", "db", "--status")
    assert len(shown.lines) == 6
    assert shown.lines[3].strip() == "data 2097152+65536 at journal 44"
    assert [method for method, _, _ in agent.requests] == ["GET"]


def test_while_it_is_followed_it_tells_how_far_it_is_and_why_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"phase": "running", "verdict": "WARN", "line": "verifying db 50 %", "bytes_done": 4 << 20}
    now = VerifyReport.model_validate(report(**values, bytes_total=8 << 20, waits="the journal is full"))
    looks: list[Look | None] = []

    class Ends:
        def verify_report(self, _: str) -> VerifyReport:
            looks.append(look())
            return VerifyReport.model_validate(report())

    session = Session()
    monkeypatch.setitem(session.__dict__, "agent", Ends())
    look = Comparison(session, "db")
    assert (look(), look.words) == (None, "verify of db")
    assert look.follow(now).phase == "done"
    assert looks == [Look("verifying db 50 % (the journal is full)", 4 << 20, 8 << 20)]
