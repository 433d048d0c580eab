"""`pairvol journal`: figures of two looks, and the commands."""

from __future__ import annotations

import pytest

from hostagent.api.models import JournalSides
from hostagent.cli import journal
from hostagent.cli.journal_view import journal_report, journal_text
from hostagent.cli.output import unstyled
from tests.unit.cli.conftest import Pairvol
from tests.unit.cli.fake_agent import FakeAgent
from tests.unit.cli.samples import TIME_NS, journal_sides, journal_state, pair_status, unreachable

SECOND_NS = 1_000_000_000


def test_a_rate_comes_from_two_looks() -> None:
    earlier, later = journal_sides(TIME_NS, 100_000), journal_sides(TIME_NS + SECOND_NS // 2, 120_480)
    report = journal_report(pair_status(), earlier, later)
    assert report["primary"]["rate_bytes_per_second"] == pytest.approx(20_480 * 512 * 2)


@pytest.mark.parametrize(("seconds", "size", "shown"), [(60.0, 1 << 20, "1 min (1 MiB)"), (None, None, "-")])
def test_lag_is_what_the_status_of_the_pair_says(seconds: float | None, size: int | None, shown: str) -> None:
    """Journals alone would say 0 s of a pair that is split, or whose acquisition is stopped."""
    status = pair_status(state="PSUS", number=3, verdict="WARN", lag_seconds=seconds, lag_bytes=size)
    sides = journal_sides(TIME_NS, 100_000)
    report = journal_report(status, sides, sides)
    assert (report["lag_seconds"], report["lag_bytes"]) == (seconds, size)
    assert unstyled(journal_text(report)).splitlines()[2].endswith(f"  {shown}")


def test_the_forecast_has_a_column() -> None:
    sides = journal_sides(TIME_NS, 100_000)
    report = journal_report(pair_status(seconds_to_full=90.0), sides, sides)
    assert report["seconds_to_full"] == 90.0
    lines = unstyled(journal_text(report)).splitlines()
    place = lines[0].index("FULL IN")
    assert lines[1][: place + len("FULL IN")].endswith(" 1 min 30 s")
    assert lines[2][: place + len("FULL IN")].endswith(" -")


def test_text_shows_journals_then_pointers_in_the_order_a_journal_passes_them() -> None:
    earlier, later = journal_sides(TIME_NS, 100_000), journal_sides(TIME_NS + SECOND_NS, 120_480)
    lines = unstyled(journal_text(journal_report(pair_status(), earlier, later))).splitlines()
    assert lines[0].split() == ["GROUP", "SIDE", "MODE", "RECORDS", "DATA", "FILL", "FULL", "IN", "RATE", "LAG"]
    assert "256 MiB of 8 GiB" in lines[1]
    assert "10 MiB/s" in lines[1]
    assert "0.2 s (1.1 MiB)" in lines[2]
    names = [line.split()[0] for line in lines[lines.index("") + 2 :]]
    assert names == ["journal-in", "durable", "checkpoint", "confirmed", "already-read", "already-restored"]


def test_a_side_that_does_not_answer_is_unknown_since_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time_ns", lambda: TIME_NS)
    sides = JournalSides(primary=None, secondary=journal_sides(TIME_NS, 100_000).secondary)
    report = journal_report(unreachable(), sides, sides)
    assert report["primary"] is None
    assert (report["primary_unknown_since_ns"], report["secondary_unknown_since_ns"]) == (TIME_NS, None)
    assert "db     P-VOL  unknown since 14:15:03Z  " in journal_text(report).splitlines()[1]


def test_status_asks_twice(agent: FakeAgent, pairvol: Pairvol, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "RATE_SECONDS", 0.0)
    agent.statuses = [pair_status()]
    agent.answers["GET /v1/journals/db"] = journal_sides(TIME_NS, 100_000).model_dump(mode="json")
    shown = pairvol("journal", "status", "db", "--json")
    assert shown.json["secondary"]["pointers"]["already_read"]["sequence"] == 411_001
    assert [path for _, path, _ in agent.requests] == [*["/v1/journals/db"] * 2, "/v1/pairs/db/status"]


@pytest.mark.parametrize("verb", ["start", "stop", "copy", "restore", "purge"])
def test_commands_reach_their_endpoint(agent: FakeAgent, pairvol: Pairvol, verb: str) -> None:
    state = journal_state("primary", journal_in=(411_001, 7, TIME_NS))
    agent.answers[f"POST /v1/journals/db/{verb}"] = state.model_dump(mode="json")
    to = [] if verb in ("start", "stop") else ["--to", "410000"]
    shown = pairvol("journal", verb, "db", *to)
    assert shown.code == 0
    assert shown.out == "db (primary): acquisition on; journal-in 411\N{THIN SPACE}001\n"
    assert agent.requests[-1][2] == {"to_sequence": 410_000 if to else None, "force": False}
