"""`pairvol pair`: what is printed, what is sent, and the exit codes."""

from __future__ import annotations

import json

import pytest

from controller.errors import ConflictError, NotFoundError
from hostagent.api.models import Pair
from tests.unit.cli.conftest import Pairvol
from tests.unit.cli.fake_agent import FakeAgent
from tests.unit.cli.samples import TIME_NS, copying, pair_status, unreachable

THIN = "\N{THIN SPACE}"
REPORT = {
    "group": "db",
    "kind": "planned",
    "generation": 2,
    "restored_sequence": 411_001,
    "restored_time_ns": TIME_NS,
    "journals_restored": 130,
    "missing_journals": 0,
    "missing_bytes": 0,
    "seconds": 0.42,
}
PAIR = {
    "group": "db",
    "uuid": "6a0f2c0e-7a44-4a1e-9f8e-0d7b7e6b1c11",
    "generation": 1,
    "primary": {"site": "tokyo", "volumes": ["data"]},
    "secondary": {"site": "osaka", "volumes": ["data"]},
    "initial_copy": "direct",
    "policy": {},
    "created_ns": TIME_NS,
}


def test_status_is_verdict_first_then_both_ends_on_adjacent_lines(agent: FakeAgent, pairvol: Pairvol) -> None:
    agent.statuses = [pair_status()]
    shown = pairvol("pair", "status", "db")
    assert shown.code == 0
    assert shown.lines == [
        "OK    db is protected: tokyo -> osaka, lag 0.2 s (1.1 MiB), last restored 10:15:03.2",
        "GROUP  SIDE   SITE   VOLUMES   STATE      SEQ  JOURNAL       COPY   LAG",
        f"db     P-VOL  tokyo  data,log  PAIR   411{THIN}001  3 % of 8 GiB  -      -",
        f"db     S-VOL  osaka  data,log  PAIR   410{THIN}871  1 % of 8 GiB  100 %  0.2 s",
    ]


@pytest.mark.parametrize(
    ("status", "code", "word"),
    [(pair_status(), 0, "OK    "), (copying(41), 1, "WARN  "), (unreachable(), 2, "CRIT  ")],
)
def test_status_works_as_a_monitoring_plug_in(
    agent: FakeAgent, pairvol: Pairvol, status: object, code: int, word: str
) -> None:
    agent.statuses = [status]  # type: ignore[list-item]
    shown = pairvol("pair", "status", "db")
    assert shown.code == code
    assert shown.out.startswith(word)
    assert pairvol("pair", "status", "db", "--json").code == code


def test_a_side_that_does_not_answer_is_unknown_with_cause_and_next_command(
    agent: FakeAgent, pairvol: Pairvol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time_ns", lambda: TIME_NS)
    agent.statuses = [unreachable()]
    lines = pairvol("pair", "status", "db").lines
    assert lines[0] == (
        "CRIT  db is not protected: tokyo unknown since 14:15:03; the host agent of tokyo does not answer; "
        "next: pairvol pair takeover db"
    )
    assert "tokyo  data,log  unknown since 14:15:03Z" in lines[2]
    assert "411" not in lines[2]  # never its last known value


def test_status_of_all_pairs_takes_the_worst_verdict(agent: FakeAgent, pairvol: Pairvol) -> None:
    agent.statuses = [pair_status(group="z"), pair_status(group="a"), copying(3), unreachable()]
    shown = pairvol("pair", "status")
    assert shown.code == 2
    assert [line[:4] for line in shown.lines[:4]] == ["CRIT", "WARN", "OK  ", "OK  "]
    assert [line.split()[0] for line in shown.lines[5::2]] == ["db", "db", "a", "z"]
    assert len(pairvol("pair", "status", "--json").json) == 4


def test_without_any_pair_nothing_is_protected(agent: FakeAgent, pairvol: Pairvol) -> None:
    shown = pairvol("pair", "status")
    assert shown.code == 1
    assert shown.out == "WARN  no pairs: nothing is protected here; next: pairvol pair create\n"
    found = pairvol("pair", "status", "--json")
    assert (found.code, found.json) == (1, [])
    assert pairvol("pair", "list").code == 0


def test_status_json_is_the_agents_answer(agent: FakeAgent, pairvol: Pairvol) -> None:
    agent.statuses = [pair_status()]
    assert pairvol("pair", "status", "db", "--json").json == json.loads(pair_status().model_dump_json())


def test_create_sends_the_whole_order(agent: FakeAgent, pairvol: Pairvol) -> None:
    agent.statuses = [copying(0)]
    words = "pair create db --primary tokyo:data,log --secondary osaka:data,log --journal-size 8G"
    shown = pairvol(*words.split(), "--secondary-journal-size", "16G", "--restore", "later", "--copy", "fill")
    assert shown.code == 0
    method, path, order = agent.requests[0]
    assert (method, path) == ("POST", "/v1/pairs")
    assert order["primary"] == {"site": "tokyo", "volumes": ["data", "log"]}
    assert order["journal_bytes"] == 8 << 30
    assert order["secondary_journal_bytes"] == 16 << 30
    assert order["policy"]["restore"] == "later"
    assert order["policy"]["trigger"] == "fill"
    assert order["initial_copy"] == "direct"


@pytest.mark.parametrize(
    ("options", "about"),
    [
        (["--primary", "tokyo", "--secondary", "osaka:b"], "--primary"),
        (["--primary", "tokyo:a,", "--secondary", "osaka:b"], "--primary"),
        (["--primary", "tokyo:a"], "--secondary"),
        (["--primary", "tokyo:a", "--secondary", "osaka:b", "--journal-size", "much"], "'much' is not a size"),
        (["--primary", "tokyo:a", "--secondary", "osaka:b", "--restore", "never"], "restore"),
        (["--primary", "tokyo:../a", "--secondary", "osaka:b"], "'../a'"),
    ],
)
def test_create_refuses_wrong_words_and_sends_nothing(
    agent: FakeAgent, pairvol: Pairvol, options: list[str], about: str
) -> None:
    refused = pairvol("pair", "create", "db", *options)
    assert refused.code == 2
    assert about in refused.err.splitlines()[0]
    assert refused.err.splitlines()[1].startswith("HINT: ")
    assert len(refused.err.splitlines()) == 2
    assert not agent.requests


def test_wait_returns_when_the_state_is_reached(agent: FakeAgent, pairvol: Pairvol) -> None:
    agent.statuses = [copying(10), copying(60), pair_status()]
    shown = pairvol("pair", "wait", "db", "--state", "pair", "--timeout", "20")
    assert shown.code == 0
    assert shown.out.startswith("OK    db is protected")


def test_a_group_that_is_not_paired_is_simplex(agent: FakeAgent, pairvol: Pairvol) -> None:
    agent.refusal = NotFoundError("no pair named db", hint="See the list.")
    shown = pairvol("pair", "wait", "db", "--state", "SMPL")
    assert (shown.code, shown.out) == (0, "OK    db is simplex: not paired\n")
    shown = pairvol("pair", "wait", "db", "--state", "SMPL", "--json")
    assert (shown.json["state"], shown.json["number"]) == ("SMPL", 0)
    assert pairvol("pair", "wait", "db", "--state", "PAIR").code == 10


def test_volumes_join_and_leave_by_the_names_of_their_site(agent: FakeAgent, pairvol: Pairvol) -> None:
    agent.pairs = [Pair.model_validate(PAIR)]
    for path in ("add", "remove"):
        agent.answers[f"POST /v1/pairs/db/{path}"] = pair_status().model_dump(mode="json")
    assert pairvol("pair", "add", "db", "--primary", "tokyo:index", "--secondary", "osaka:copy").code == 0
    assert agent.requests[-1][2] == {"primary": ["index"], "secondary": ["copy"]}
    assert pairvol("pair", "remove", "db", "tokyo:index,log").code == 0
    assert agent.requests[-1][2] == {"volumes": ["index", "log"]}
    refused = pairvol("pair", "add", "db", "--primary", "osaka:index")
    assert (refused.code, agent.requests[-1][0]) == (2, "GET")
    assert "osaka is not the primary site of db, tokyo is" in refused.err


def test_wait_gives_up_with_the_state_reached(agent: FakeAgent, pairvol: Pairvol) -> None:
    agent.statuses = [copying(41)]
    refused = pairvol("pair", "wait", "db", "--state", "PAIR", "--timeout", "0.1")
    assert refused.code == 50
    assert "it is COPY: db is copying 41 %" in refused.err
    assert not refused.out


def test_wait_outlasts_a_pair_in_the_making(agent: FakeAgent, pairvol: Pairvol) -> None:
    agent.refusal = ConflictError("pair db is being made", hint="Ask again.")
    refused = pairvol("pair", "wait", "db", "--state", "PAIR", "--timeout", "0.3")
    assert refused.code == 20
    assert len(agent.requests) > 1


def test_wait_refuses_a_state_that_does_not_exist(agent: FakeAgent, pairvol: Pairvol) -> None:
    assert pairvol("pair", "wait", "db", "--state", "FINE").code == 2


def test_takeover_says_which_kind_and_what_is_missing(agent: FakeAgent, pairvol: Pairvol) -> None:
    agent.answers["POST /v1/pairs/db/takeover"] = REPORT
    shown = pairvol("pair", "takeover", "db")
    assert shown.lines[0] == "OK    db is taken over (planned, generation 2) in 0.4 s"
    assert shown.lines[-1].strip() == "nothing is missing"
    agent.answers["POST /v1/pairs/db/takeover"] = REPORT | {"mounted_there": ["/srv/db"]}
    shown = pairvol("pair", "takeover", "db")
    assert shown.lines[0].startswith("WARN  db is taken over (planned")
    assert "still mounted at the old primary: /srv/db;" in shown.lines[-1]
    agent.answers["POST /v1/pairs/db/takeover"] = REPORT | {
        "kind": "forced",
        "missing_journals": 131,
        "missing_bytes": 1_153_434,
    }
    shown = pairvol("pair", "takeover", "db", "--force")
    assert shown.lines[0].startswith("WARN  db is taken over (forced")
    assert "missing here: 131 journals (1.1 MiB)" in shown.lines[-1]
    assert agent.requests[-1][2] == {"force": True, "to": None, "named": False}  # the agent knows no such pair


def test_a_moment_of_another_day_has_its_date(
    agent: FakeAgent, pairvol: Pairvol, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent.answers["POST /v1/pairs/db/takeover"] = REPORT
    monkeypatch.setattr("time.time_ns", lambda: TIME_NS + 3600 * 10**9)
    assert f"journal 411{THIN}001 of 14:15:03.2Z, " in pairvol("pair", "takeover", "db").out
    monkeypatch.setattr("time.time_ns", lambda: TIME_NS + 2 * 86400 * 10**9)
    assert f"journal 411{THIN}001 of 2026-09-21T14:15:03.2Z, " in pairvol("pair", "takeover", "db").out


def test_a_takeover_from_a_safe_point_says_what_it_drops(agent: FakeAgent, pairvol: Pairvol) -> None:
    went_back = {"kind": "forced", "from_safe_point": True, "journals_dropped": 1}
    agent.answers["POST /v1/pairs/db/takeover"] = REPORT | went_back
    shown = pairvol("pair", "takeover", "db", "--force")
    assert shown.lines[0].startswith("WARN  db is taken over (forced")
    assert "      a resync was under way: the volumes went back to its safe point, the state before it" in shown.lines
    assert "      dropped: 1 journal that had arrived, of no use without the rest of the resync" in shown.lines
    assert "nothing is missing" not in shown.out


def test_a_takeover_names_its_site_so_that_twice_is_once(agent: FakeAgent, pairvol: Pairvol) -> None:
    agent.pairs = [Pair.model_validate(PAIR)]
    agent.answers["POST /v1/pairs/db/takeover"] = REPORT
    pairvol("pair", "takeover", "db")
    assert agent.requests[-1][2] == {"force": False, "to": "osaka", "named": False}
    pairvol("pair", "takeover", "db", "--to", "tokyo")
    assert agent.requests[-1][2] == {"force": False, "to": "tokyo", "named": True}


@pytest.mark.parametrize(
    ("words", "method", "says"),
    [
        ("pair takeover db", "take_over", 'see it with "pairvol pair status db"; give it again with --to osaka'),
        ("pair verify db", "verify_report", 'the verify goes on; "pairvol pair verify db" shows it'),
    ],
)
def test_ctrl_c_says_what_only_the_agent_knew(
    agent: FakeAgent, pairvol: Pairvol, monkeypatch: pytest.MonkeyPatch, words: str, method: str, says: str
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    agent.pairs = [Pair.model_validate(PAIR)]
    running = {"group": "db", "phase": "running", "verdict": "WARN", "line": "verifying db"}
    agent.answers["POST /v1/pairs/db/verify"] = running
    monkeypatch.setattr(f"hostagent.client.Agent.{method}", interrupted)
    left = pairvol(*words.split())
    assert (left.code, left.out) == (130, "")
    assert says in left.err
    assert len(left.err.splitlines()) == 1


def test_a_refused_takeover_is_one_line_and_a_hint(agent: FakeAgent, pairvol: Pairvol) -> None:
    agent.refusal = ConflictError("cannot take over db: osaka holds journals not yet restored", hint="Add --force.")
    refused = pairvol("pair", "takeover", "db", "--json")
    assert refused.code == 20
    assert refused.err == ("pairvol: cannot take over db: osaka holds journals not yet restored\nHINT: Add --force.\n")
    assert refused.out == ""


def test_list_says_who_serves(agent: FakeAgent, pairvol: Pairvol) -> None:
    assert pairvol("pair", "list").out == "no pairs\n"
    agent.pairs = [Pair.model_validate(PAIR | {"taken_over": True, "generation": 2})]
    assert "taken over by osaka from tokyo" in pairvol("pair", "list").lines[1]


def test_delete_passes_force_on_and_says_what_that_dropped(agent: FakeAgent, pairvol: Pairvol) -> None:
    agent.answers["DELETE /v1/pairs/db"] = {"group": "db", "dropped": []}
    shown = pairvol("pair", "delete", "db")
    assert (shown.code, shown.out) == (0, "")
    agent.answers["DELETE /v1/pairs/db"] = {
        "group": "db",
        "dropped": [
            {"site": "tokyo", "what": "orphan", "journals": 11, "data_bytes": 19456},
            {"site": "osaka", "what": "secondary", "journals": None, "data_bytes": None},
        ],
        "left": "osaka",
    }
    shown = pairvol("pair", "delete", "db", "--force")
    assert shown.lines == [
        "dropped at tokyo: 11 journals (19 KiB) kept as an orphan tail",
        "dropped at osaka: an unknown number of journals not yet restored",
        'osaka did not answer and keeps its side; end it there: "pairvol pair delete db"',
    ]
    assert agent.requests[-1][:2] == ("DELETE", "/v1/pairs/db?force=true")
    assert pairvol("pair", "delete", "db", "--force", "--json").json["dropped"][0]["journals"] == 11


def test_a_limit_is_sent_and_shown(agent: FakeAgent, pairvol: Pairvol) -> None:
    agent.answers["POST /v1/pairs/db/set"] = pair_status(limit_bytes_per_second=10 << 20).model_dump(mode="json")
    shown = pairvol("pair", "set", "db", "--limit", "10M")
    assert shown.code == 0
    assert "      db transfers at most 10 MiB/s" in shown.lines
    agent.statuses = [copying(0)]
    words = "pair create db --primary tokyo:data --secondary osaka:data --limit 64K"
    assert pairvol(*words.split()).code == 0
    assert pairvol("pair", "set", "db", "--limit", "none").code == 0
    first, created, last = (order for _, _, order in agent.requests)
    assert first == {"limit_bytes_per_second": 10 << 20}
    assert created["policy"]["limit_bytes_per_second"] == 64 << 10
    assert last == {"limit_bytes_per_second": None}


@pytest.mark.parametrize("limit", ["0", "-5M", "63K", "fast", "1"])
def test_a_limit_that_makes_no_sense_is_refused(agent: FakeAgent, pairvol: Pairvol, limit: str) -> None:
    refused = pairvol("pair", "set", "db", "--limit", limit)
    assert refused.code == 2
    assert "bandwidth limit" in refused.err.splitlines()[0]
    assert "such as --limit 10M" in refused.err.splitlines()[1]
    assert not agent.requests


def test_set_asks_what_to_change(agent: FakeAgent, pairvol: Pairvol) -> None:
    refused = pairvol("pair", "set", "db")
    assert refused.code == 2
    assert "say what to change" in refused.err
    assert not agent.requests


def test_a_compression_is_sent_and_shown(agent: FakeAgent, pairvol: Pairvol) -> None:
    packed = pair_status(compression="zstd", compression_now="zstd", transfer_bytes=30 << 20, wire_bytes=10 << 20)
    agent.answers["POST /v1/pairs/db/compress"] = packed.model_dump(mode="json")
    shown = pairvol("pair", "set", "db", "--compress", "zstd")
    assert shown.code == 0
    assert "      db transfers with zstd: 30 MiB as 10 MiB on the wire" in shown.lines
    silent = pair_status(compression="zstd").model_dump(mode="json")
    agent.answers["POST /v1/pairs/db/compress"] = silent
    lines = pairvol("pair", "set", "db", "--compress", "zstd").lines
    assert "      db is to transfer with zstd" in lines  # and not that it does
    agent.statuses = [copying(0)]
    words = "pair create db --primary tokyo:data --secondary osaka:data --compress zstd"
    assert pairvol(*words.split()).code == 0
    first, _, created = (order for _, _, order in agent.requests)
    assert first == {"compression": "zstd"}
    assert created["policy"]["compression"] == "zstd"


def test_a_compression_that_is_refused_leaves_the_limit(agent: FakeAgent, pairvol: Pairvol) -> None:
    agent.refusal = ConflictError("not beside [tls]", hint="Leave it out.")
    assert pairvol("pair", "set", "db", "--limit", "10M", "--compress", "zstd").code == 20
    assert [path for _, path, _ in agent.requests] == ["/v1/pairs/db/compress"]
    agent.requests.clear()
    assert pairvol("pair", "set", "db", "--limit", "fast", "--compress", "zstd").code == 2
    assert not agent.requests


@pytest.mark.parametrize("word", ["gzip", "", "ZSTD"])
def test_another_compression_is_refused(agent: FakeAgent, pairvol: Pairvol, word: str) -> None:
    refused = pairvol("pair", "set", "db", "--compress", word)
    assert refused.code == 2
    assert "is not a compression" in refused.err.splitlines()[0]
    assert "--compress zstd" in refused.err.splitlines()[1]
    assert not agent.requests
