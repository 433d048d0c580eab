"""The contract of the command line: which commands and options there are, and which keys --json prints."""

from __future__ import annotations

from typing import Any, Final

import pytest
from typer.main import get_command

from hostagent.cli.main import app
from tests.unit.cli import json_keys
from tests.unit.cli.conftest import Pairvol
from tests.unit.cli.fake_agent import FakeAgent

AGENT: Final = ("--agent", "--config")
DATA: Final = (*AGENT, "--json")
COMMANDS: Final[dict[str, tuple[str, ...]]] = {
    "demo": ("--dir", "--keep"),
    "controller run": ("--config",),
    "agent run": ("--config",),
    "check": DATA,
    "pool add": DATA,
    "pool list": DATA,
    "pool remove": AGENT,
    "volume create": (*DATA, "--backing"),
    "volume list": DATA,
    "volume show": DATA,
    "volume delete": AGENT,
    "volume resize": DATA,
    "volume attach": (*DATA, "--uri", "--on"),
    "volume detach": AGENT,
    "pair create": (
        *DATA,
        "--primary",
        "--secondary",
        "--journal-size",
        "--journal",
        "--secondary-journal-size",
        "--initial-copy",
        "--mode",
        "--on-full",
        "--limit",
        "--compress",
    ),
    "pair set": (*DATA, "--limit", "--compress"),
    "pair list": DATA,
    "pair status": (*DATA, "--watch", "--history", "--since"),
    "pair split": (*DATA, "--rw"),
    "pair resync": (*DATA, "--swap"),
    "pair takeover": (*DATA, "--force"),
    "pair delete": (*DATA, "--force"),
    "pair verify": (*DATA, "--repair", "--cancel"),
    "pair wait": (*DATA, "--state", "--timeout"),
    "journal status": DATA,
    "journal start": DATA,
    "journal stop": DATA,
    "journal copy": (*DATA, "--to"),
    "journal restore": (*DATA, "--to"),
    "journal purge": (*DATA, "--to"),
    "journal dump": (*DATA, "--orphan", "--data"),
    "journal drop": (*DATA, "--orphan", "--force"),
    "marker put": (*DATA, "--wait", "--freeze"),
    "marker list": DATA,
    "drill start": (*DATA, "--at", "--check"),
    "drill stop": DATA,
    "drill list": DATA,
    "events": (*DATA, "--follow"),
    "top": (*DATA, "--once"),
}


@pytest.mark.parametrize("words", COMMANDS)
def test_the_command_is_there_with_its_options(words: str) -> None:
    command: Any = get_command(app)
    for word in words.split():
        assert word in command.commands, f"no command {words}"
        command = command.commands[word]
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert set(COMMANDS[words]) <= options


@pytest.mark.parametrize("commands", json_keys.kept())
def test_keys_are_only_ever_added(commands: str) -> None:
    """New ones are added to the list by `python -m tests.unit.cli.json_keys`."""
    gone = set(json_keys.kept()[commands]) - set(json_keys.keys().get(commands, []))
    assert not gone, f"{commands} --json has lost {sorted(gone)}"


def test_a_key_in_a_list_of_a_dictionary_is_found() -> None:
    keys = json_keys.keys()
    assert "sides[].state" in keys["pair create, status, wait, split, resync"]
    assert "pointers.*.sequence" in keys["journal start, stop, copy, restore, purge"]
    assert "drills[].check.passed" in keys["drill list"]


def test_push_is_refused_before_anything_is_asked(agent: FakeAgent, pairvol: Pairvol) -> None:
    words = "pair create db --primary tokyo:a --secondary osaka:b --mode push"
    refused = pairvol(*words.split())
    assert refused.code == 2
    assert "journals are pulled by the secondary" in refused.err
    assert not agent.requests
