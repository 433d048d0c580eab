"""A fake agent, and the program run in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hostagent.cli import session
from hostagent.cli.main import run
from tests.unit.cli.fake_agent import FakeAgent, RunningAgent, info


@dataclass(frozen=True)
class Outcome:
    """What one command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Pairvol = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def _nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the environment nor /etc of this machine says which agent to use."""
    monkeypatch.delenv(session.ENVIRONMENT, raising=False)
    monkeypatch.setattr(session, "CONFIGURATION", tmp_path / "none.toml")
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture(scope="session")
def running_agent() -> Iterator[RunningAgent]:
    running = RunningAgent()
    yield running
    running.stop()


@pytest.fixture
def agent(running_agent: RunningAgent, monkeypatch: pytest.MonkeyPatch) -> FakeAgent:
    """An agent that knows nothing yet; the environment points to it."""
    running_agent.agent = FakeAgent(info(), url=running_agent.url)
    monkeypatch.setenv(session.ENVIRONMENT, running_agent.url)
    return running_agent.agent


@pytest.fixture
def pairvol(capsys: pytest.CaptureFixture[str]) -> Pairvol:
    """Run the program with words as arguments."""

    def invoke(*words: str) -> Outcome:
        code = run(words)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return invoke
