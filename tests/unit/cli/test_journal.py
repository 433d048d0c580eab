"""`pairvol journal`: figures of two looks, and the commands."""

from __future__ import annotations

import pytest

from hostagent.api.models import JournalSides
from hostagent.cli import journal
from hostagent.cli.journal_view import journal_report, journal_text
from hostagent.cli.output import unstyled
from tests.unit.cli.conftest import Pairvol
from tests.unit.cli.fake_agent import FakeAgent
from tests.unit.cli.samples import TIME_NS, journal_sides, journal_state

SECOND_NS = 1_000_000_000


def test_rate_and_lag_come_from_two_looks() -> None:
    report = journal_report("db", journal_sides(TIME_NS, 100_000), journal_sides(TIME_NS + SECOND_NS // 2, 120_480))
    assert report["primary"]["rate_bytes_per_second"] == pytest.approx(20_480 * 512 * 2)
    assert report["lag_seconds"] == pytest.approx(0.25)
    assert report["lag_bytes"] == 2048 * 512


def test_text_shows_journals_then_pointers_in_the_order_a_journal_passes_them() -> None:
    report = journal_report("db", journal_sides(TIME_NS, 100_000), journal_sides(TIME_NS + SECOND_NS, 120_480))
    lines = unstyled(journal_text(report)).splitlines()
    assert lines[0].split() == ["GROUP", "SIDE", "MODE", "RECORDS", "DATA", "FILL", "RATE", "LAG"]
    assert "256 MiB of 8 GiB" in lines[1]
    assert "10 MiB/s" in lines[1]
    assert "0.2 s (1 MiB)" in lines[2] or "0.3 s (1 MiB)" in lines[2]
    names = [line.split()[0] for line in lines[lines.index("") + 2 :]]
    assert names == ["journal-in", "durable", "checkpoint", "confirmed", "already-read", "already-restored"]


def test_a_side_that_does_not_answer_is_unknown() -> None:
    sides = JournalSides(primary=None, secondary=journal_sides(TIME_NS, 100_000).secondary)
    report = journal_report("db", sides, sides)
    assert report["primary"] is None
    assert report["lag_seconds"] is None
    assert journal_text(report).splitlines()[1].split()[:3] == ["db", "P-VOL", "unknown"]


def test_status_asks_twice(agent: FakeAgent, pairvol: Pairvol, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "RATE_SECONDS", 0.0)
    agent.answers["GET /v1/journals/db"] = journal_sides(TIME_NS, 100_000).model_dump(mode="json")
    shown = pairvol("journal", "status", "db", "--json")
    assert shown.json["secondary"]["pointers"]["already_read"]["sequence"] == 411_001
    assert len(agent.requests) == 2


@pytest.mark.parametrize("verb", ["start", "stop", "copy", "restore", "purge"])
def test_commands_reach_their_endpoint(agent: FakeAgent, pairvol: Pairvol, verb: str) -> None:
    state = journal_state("primary", journal_in=(411_001, 7, TIME_NS))
    agent.answers[f"POST /v1/journals/db/{verb}"] = state.model_dump(mode="json")
    to = [] if verb in ("start", "stop") else ["--to", "410000"]
    shown = pairvol("journal", verb, "db", *to)
    assert shown.code == 0
    assert shown.out == "db (primary): acquisition on; journal-in 411\N{THIN SPACE}001\n"
    assert agent.requests[-1][2] == {"to_sequence": 410_000 if to else None}
