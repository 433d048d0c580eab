"""The program itself: help, usage errors, the choice of the agent, start-up."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from controller.api.models import Event
from hostagent.cli.main import app
from tests.unit.cli.conftest import Pairvol
from tests.unit.cli.fake_agent import FakeAgent, info
from tests.unit.cli.samples import TIME_NS, pair_status

HEAVY = ("pydantic", "httpx", "fastapi", "uvicorn", "numpy", "rich", "psutil", "hostagent.client")
FOR_FEW = ("rich", "pygments", "prometheus_client")


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("hostagent.cli.main", HEAVY),
        ("controller.volume.write_path", tuple(name for name in HEAVY if name != "numpy")),
        ("hostagent.daemon", ("numpy", *FOR_FEW)),
        ("controller.daemon", FOR_FEW),
        ("hostagent.client", FOR_FEW),
    ],
)
def test_whoever_is_waited_for_needs_nothing_heavy(module: str, heavy: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print([name for name in {heavy!r} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pair", "stauts"], "pairvol: no such command 'stauts'"),
        (["volume", "show"], "pairvol: missing argument 'NAME'"),
        (["pair", "list", "extra"], "pairvol: got unexpected extra argument"),
        (["pair", "status", "--nonsense"], "pairvol: no such option: --nonsense"),
        (["--agent", "nowhere", "pair", "list"], "pairvol: 'nowhere' is not an agent's address"),
        (["--agent", "http://", "pair", "list"], "pairvol: 'http://' is not an agent's address"),
        (["--agent", "http://[::1:7811", "pair", "list"], "pairvol: 'http://[::1:7811' is not an agent's address"),
        (["--agent", "127.0.0.1:0", "pair", "list"], "pairvol: '127.0.0.1:0' is not an agent's address"),
        (["--config", "/nonexistent.toml", "pair", "list"], "pairvol: configuration file /nonexistent.toml"),
        (["--config", "/proc", "pair", "list"], "pairvol: cannot read configuration /proc: is a directory"),
        (["--config", "/proc/uptime", "pair", "list"], "pairvol: configuration /proc/uptime is not TOML: expected '='"),
        (["controller", "run", "--config", "/proc"], "pairvol: cannot read configuration /proc: is a directory"),
    ],
)
def test_wrong_usage_is_one_line_and_a_hint(pairvol: Pairvol, words: list[str], message: str) -> None:
    refused = pairvol(*words)
    assert refused.code in (2, 10)
    lines = refused.err.splitlines()
    assert lines[0].startswith(message)
    assert not lines[0].endswith(".")
    assert lines[1].startswith("HINT: ")
    assert len(lines) == 2
    assert refused.out == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("pair status a/b", "'a/b' is not a name"),
        ("pair status ../x", "'../x' is not a name"),
        ("volume show a/b", "'a/b' is not a name"),
        ("volume attach tokyo:data", "'tokyo:data' is not a name, as NAME must be"),
        ("volume create tokyo:data 1G", "'tokyo:data' is not a name, as NAME must be"),
        ("volume resize data 0", "0 is not a valid SIZE: input should be greater than 0"),
        ("volume create data 0", "0 is not a valid SIZE: input should be greater than 0"),
        ("pair add db --primary a/b", "'a/b' is not a name, as --primary must be"),
        ("pair remove db a/b", "'a/b' is not a name, as VOL must be"),
        ("pair create db --primary tokyo:a --secondary osaka:a --every 0", "0.0 is not a valid --every"),
        ("pair create db --primary tokyo:a --secondary osaka:a --copy never", "'never' is not a valid --copy"),
        ("pair create db --primary tokyo:a --secondary osaka:a --journal-size 0", "0 is not a valid --journal-size"),
        (
            "pair create db --primary tokyo:a --secondary osaka:a --restore never",
            "'never' is not a valid --restore: input should be 'at-once' or 'later'",
        ),
        ("pair status db --since 9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z has not come yet"),
        ("drill start db --wait 0", "0.0 is not a valid --wait"),
        ("drill start db --wait soon", "'soon' is not a duration"),
        ("drill start db --timeout 2d", "172800.0 is not a valid --timeout"),
        ("journal drop db --orphan a/b", "'a/b' is not a name"),
    ],
)
def test_what_cannot_be_is_named_as_it_was_typed(agent: FakeAgent, pairvol: Pairvol, words: str, message: str) -> None:
    refused = pairvol(*words.split())
    assert (refused.code, refused.out) == (2, "")
    first, hint = refused.err.splitlines()
    assert first.startswith(f"pairvol: {message}")
    assert hint.startswith("HINT: ")
    assert not agent.requests


def test_a_site_that_cannot_be_takes_nothing_over(agent: FakeAgent, pairvol: Pairvol) -> None:
    refused = pairvol("pair", "takeover", "db", "--to", "new york")
    assert refused.code == 2
    assert refused.err.splitlines()[0] == "pairvol: 'new york' is not a name, as --to must be"


def test_every_command_has_help(pairvol: Pairvol) -> None:
    import typer

    top = typer.main.get_command(app)
    for name, command in top.commands.items():  # type: ignore[attr-defined]
        for words in [[name, verb] for verb in getattr(command, "commands", {})] or [[name]]:
            shown = pairvol(*words, "--help")
            assert shown.code == 0
            assert f"pairvol {' '.join(words)}" in shown.out


def test_an_agent_that_does_not_answer(pairvol: Pairvol) -> None:
    refused = pairvol("--agent", "http://127.0.0.1:9", "pair", "list", "--json")
    assert refused.code == 50
    assert "unreachable" in refused.err
    assert refused.out == ""


def test_agent_is_chosen_before_or_after_the_command(
    agent: FakeAgent, pairvol: Pairvol, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent.statuses = [pair_status()]
    monkeypatch.setenv("PAIRVOL_AGENT", "http://127.0.0.1:9")
    assert pairvol("pair", "status").code == 50
    assert pairvol("--agent", agent.url, "pair", "status").code == 0
    assert pairvol("pair", "status", "--agent", agent.url.removeprefix("http://")).code == 0
    assert pairvol("--agent", "http://127.0.0.1:9", "pair", "status", "--agent", agent.url).code == 0


@pytest.mark.parametrize("form", ['"{}"', '["{}", "unix:/run/x"]'])
def test_configuration_says_where_the_agent_listens(
    agent: FakeAgent, pairvol: Pairvol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.delenv("PAIRVOL_AGENT")
    agent.statuses = [pair_status()]
    configuration = tmp_path / "agent.toml"
    configuration.write_text(f"site = 'tokyo'\nlisten = {form.format(agent.url.removeprefix('http://'))}\n")
    assert pairvol("pair", "status", "--config", str(configuration)).code == 0


def test_json_may_be_given_in_front(agent: FakeAgent, pairvol: Pairvol) -> None:
    agent.statuses = [pair_status()]
    assert pairvol("--json", "pair", "status", "db").json["group"] == "db"


def test_events_are_one_object_a_line(agent: FakeAgent, pairvol: Pairvol) -> None:
    agent.events = [
        Event(number=number, time_ns=TIME_NS, level="info", name="pair.created", message="made", group=group)
        for number, group in ((1, "db"), (2, "web"), (3, "db"))
    ]
    lines = pairvol("events").lines
    assert [json.loads(line)["number"] for line in lines] == [1, 2, 3]
    assert [json.loads(line)["number"] for line in pairvol("events", "--group", "db", "--after", "1").lines] == [3]


def test_check_names_each_failure_with_its_mend(agent: FakeAgent, pairvol: Pairvol) -> None:
    peer = {"site": "osaka", "agent": "http://127.0.0.1:9", "ok": False, "last_contact_ns": 0, "failure": "refused"}
    agent.info = info(controller_ok=False, peers=[peer])
    shown = pairvol("check")
    assert shown.code == 2
    lines = shown.lines
    failed = next(index for index, line in enumerate(lines) if line.startswith("FAILED   controller "))
    assert lines[failed + 1].strip() == 'mend: start it: "pairvol controller run", with the site of its agent'
    assert any(line.startswith("FAILED   peer osaka") and "never heard: refused" in line for line in lines)
    report = pairvol("check", "--json")
    assert report.json["verdict"] == "FAILED"
    assert report.code == 2
