"""`pairvol pair split` and `pair resync`: what is asked of the agent, and what is shown."""

from __future__ import annotations

from tests.unit.cli.conftest import Pairvol
from tests.unit.cli.fake_agent import FakeAgent
from tests.unit.cli.samples import pair_status


def test_split_and_resync_ask_and_show_the_state(agent: FakeAgent, pairvol: Pairvol) -> None:
    line = "db is not protected: it was split by an operator, changes tracked; osaka is writable"
    split = pair_status(state="PSUS", number=3, verdict="WARN", line=line)
    agent.answers["POST /v1/pairs/db/split"] = split.model_dump(mode="json")
    shown = pairvol("pair", "split", "db", "--rw")
    assert (shown.code, shown.lines[0]) == (0, f"WARN  {line}")
    assert agent.requests[-1][2] == {"writable": True, "force": False}

    agent.answers["POST /v1/pairs/db/resync"] = pair_status().model_dump(mode="json")
    assert pairvol("pair", "resync", "db", "--swap", "--force", "--json").json["state"] == "PAIR"
    assert agent.requests[-1][2] == {"swap": True, "force": True}


def test_a_drop_says_what_went(agent: FakeAgent, pairvol: Pairvol) -> None:
    tail = {"name": "generation-3-97-107", "path": "/x", "generation": 3, "superseded_by": 4, "volumes": {}}
    tail |= {"first_sequence": 97, "last_sequence": 107, "journals": 11, "data_bytes": 19456}
    tail |= {"first_time_ns": 1, "last_time_ns": 2, "kept_ns": 3}
    agent.answers["DELETE /v1/journals/db/orphans/latest"] = tail
    shown = pairvol("journal", "drop", "db", "--orphan", "latest", "--force")
    assert shown.lines == ["db: dropped 11 journals (19 KiB), 97 to 107 of generation 3"]
    assert agent.requests[-1][:2] == ("DELETE", "/v1/journals/db/orphans/latest?force=true")
    assert pairvol("journal", "drop", "db", "--orphan", "latest", "--json").json["journals"] == 11


def test_a_dump_names_the_tails_that_are_kept(agent: FakeAgent, pairvol: Pairvol) -> None:
    agent.answers["GET /v1/journals/db/files"] = {"journal_path": "/nowhere", "orphans": []}
    shown = pairvol("journal", "dump", "db", "--orphan", "latest")
    assert shown.code == 10
    assert "no orphan tail latest of db is kept at this site" in shown.err
