"""`pair status --watch`, `events --follow` and `top`: what goes on until somebody has seen enough."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pytest

from controller.api.models import CopyState, Event
from controller.errors import PairvolError, PeerError
from hostagent.api.models import JournalSides, PairStatus
from hostagent.cli import watch
from hostagent.cli.events import followed
from hostagent.cli.output import unstyled
from hostagent.cli.session import Session
from hostagent.cli.top_view import Look, rows, top_text
from tests.support.processes import PROJECT
from tests.unit.cli.conftest import Pairvol
from tests.unit.cli.fake_agent import FakeAgent
from tests.unit.cli.samples import TIME_NS, copying, journal_sides, pair_status, unreachable

SECOND = 1_000_000_000
SECONDS_AHEAD = 2
BLOCKS = 4096


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "WATCH_SECONDS", 0)


def answering(*answers: list[PairStatus] | PairvolError) -> Callable[[], list[PairStatus]]:
    """These answers one after the other, then Ctrl-C."""
    coming: Iterator[list[PairStatus] | PairvolError] = iter(answers)

    def ask() -> list[PairStatus]:
        answer = next(coming, None)
        if answer is None:
            raise KeyboardInterrupt
        if isinstance(answer, PairvolError):
            raise answer
        return answer

    return ask


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        (([unreachable()], [pair_status()]), 0),
        (([pair_status()], [copying(3)]), 1),
        (([pair_status()], [pair_status(), unreachable()]), 2),
        (([pair_status()], PeerError("gone", hint="Start it.")), 50),
        ((PeerError("gone"), [pair_status()]), 0),
        (([pair_status()], []), 1),
    ],
)
def test_watching_ends_with_the_code_of_the_last_answer(
    answers: tuple[list[PairStatus] | PairvolError, ...], code: int
) -> None:
    assert watch.watch_statuses(Session(), answering(*answers)) == code


def test_without_a_terminal_only_changes_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    gone = PeerError("the host agent is unreachable", hint="Start it.")
    watch.watch_statuses(Session(), answering([pair_status()], [pair_status()], gone, gone, [copying(3)]))
    captured = capsys.readouterr()
    assert [line[:4] for line in captured.out.splitlines() if line[:4] in ("OK  ", "WARN")] == ["OK  ", "WARN"]
    assert captured.err == "pairvol: the host agent is unreachable\nHINT: Start it.\n"


def test_watching_as_json_is_an_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    watch.watch_statuses(Session(json=True), answering([pair_status()], [copying(3)]))
    assert [json.loads(line)["state"] for line in capsys.readouterr().out.splitlines()] == ["PAIR", "COPY"]


@pytest.mark.parametrize(
    ("words", "code"), [(["pair", "status", "--watch"], 1), (["pair", "status", "db", "--watch"], 1), (["top"], 0)]
)
def test_interrupted_on_a_terminal_it_ends_at_once_and_cleanly(agent: FakeAgent, words: list[str], code: int) -> None:
    agent.statuses = [copying(41)]
    agent.answers["GET /v1/journals/db"] = journal_sides(TIME_NS, 10_000).model_dump(mode="json")
    control, terminal = pty.openpty()
    program = [sys.executable, "-m", "hostagent.cli.main", *words, "--agent", agent.url]
    child = subprocess.Popen(program, stdout=terminal, stderr=terminal, stdin=terminal, cwd=PROJECT)
    os.close(terminal)
    seen = b""
    try:
        while b"copying 41" not in seen:
            seen += os.read(control, 4096)
        child.send_signal(signal.SIGINT)
        assert child.wait(30) == code
        while chunk := read_rest(control):
            seen += chunk
    finally:
        child.kill()
        child.wait()
        os.close(control)
    assert b"Traceback" not in seen


def read_rest(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:  # the other end is closed
        return b""


# -- events -------------------------------------------------------------------------


def event(number: int) -> Event:
    return Event(number=number, time_ns=TIME_NS, level="info", name="pair.state", message="x")


class Log:
    """An agent's events by question: a list, or its silence."""

    def __init__(self, *answers: list[int] | PeerError) -> None:
        self._answers = iter(answers)
        self.asked: list[tuple[int, float]] = []

    def __call__(self, after: int, wait: float) -> list[Event]:
        self.asked.append((after, wait))
        answer = next(self._answers)
        if isinstance(answer, PeerError):
            raise answer
        return [event(number) for number in answer]


def numbers(log: Log, count: int, after: int = 0) -> list[int]:
    return [each.number for each in islice(followed(log, after, lambda seconds: None), count)]


def test_following_goes_on_over_a_restart_of_the_agent(capsys: pytest.CaptureFixture[str]) -> None:
    gone = PeerError("the host agent is unreachable")
    log = Log([1, 2], [3], gone, gone, [1, 2, 3, 4], [4], [5])
    assert numbers(log, 5) == [1, 2, 3, 4, 5]
    assert capsys.readouterr().err == "pairvol: the host agent is unreachable; waiting for it\n"


def test_following_begins_anew_where_the_numbers_do() -> None:
    log = Log([7, 8], PeerError("gone"), [1, 2], [1, 2], [3])
    assert numbers(log, 5) == [7, 8, 1, 2, 3]
    assert [after for after, _ in log.asked] == [0, 8, 0, 0, 2]


def test_following_an_agent_without_events_waits_there() -> None:
    log = Log([], [], [1])
    assert numbers(log, 1) == [1]
    assert all(wait > 0 for _, wait in log.asked[1:])


def test_following_an_agent_that_is_not_there_is_an_error(pairvol: Pairvol) -> None:
    refused = pairvol("events", "--follow", "--agent", "http://127.0.0.1:9")
    assert refused.code == 50


# -- top ------------------------------------------------------------------------------


def shown(figures: list[dict[str, Any]]) -> str:
    return unstyled(top_text(figures))


def looking(status: PairStatus) -> tuple[Look, Look]:
    """Two looks, two seconds apart, 4096 blocks written, copied and restored in between."""
    return (
        Look(status, journal_sides(TIME_NS, 10_000)),
        Look(status, journal_sides(TIME_NS + SECONDS_AHEAD * SECOND, 10_000 + BLOCKS)),
    )


def test_rates_come_from_two_looks() -> None:
    earlier, later = looking(pair_status(seconds_to_full=125.0))
    [figures] = rows({"db": earlier}, {"db": later})
    rate = BLOCKS * 512 / SECONDS_AHEAD
    for name in ("written", "copied", "restored"):
        assert figures[f"{name}_bytes_per_second"] == rate
    text = shown([figures])
    assert text.splitlines()[0] == "1 pair: 1 OK"
    assert "1 MiB/s  1 MiB/s" in text
    assert "2 min 5 s" in text
    assert "0.2 s" in text


def test_one_look_has_no_rates() -> None:
    _, later = looking(pair_status())
    [figures] = rows({}, {"db": later})
    assert figures["written_bytes_per_second"] is None


def test_a_copy_has_time_left() -> None:
    earlier, later = looking(copying(50))
    for look, done in ((earlier, 40), (later, 50)):
        assert look.journals.secondary is not None
        copy = look.journals.secondary.initial_copy
        look.journals.secondary.initial_copy = copy.model_copy(
            update={"state": CopyState.RUNNING, "bytes_done": done, "bytes_total": 100}
        )
    [figures] = rows({"db": earlier}, {"db": later})
    assert figures["copy_seconds_left"] == 10.0
    assert "50 %, 10 s left" in shown([figures])


def test_the_worst_comes_first_with_its_next_command() -> None:
    lost = Look(unreachable().model_copy(update={"group": "web"}), JournalSides(primary=None, secondary=None))
    fine = looking(pair_status())[1]
    lines = shown(rows({}, {"db": fine, "web": lost})).splitlines()
    assert lines[0] == "2 pairs: 1 OK, 1 CRIT"
    assert lines[1].startswith("CRIT  db is not protected: tokyo unknown since")
    assert lines[1].endswith("next: pairvol pair takeover db")
    assert [line.split()[0] for line in lines[3:]] == ["web", "db"]


def test_top_once_prints_one_table(agent: FakeAgent, pairvol: Pairvol) -> None:
    agent.statuses = [pair_status()]
    agent.answers["GET /v1/journals/db"] = journal_sides(TIME_NS, 10_000).model_dump(mode="json")
    shown = pairvol("top", "--once")
    assert shown.code == 0
    assert shown.lines[1].split()[:3] == ["GROUP", "VERDICT", "STATE"]
    told = pairvol("top", "--json").json
    assert [each["group"] for each in told["pairs"]] == ["db"]


def test_top_asks_no_journals_of_a_pair_with_a_side_unknown(agent: FakeAgent, pairvol: Pairvol) -> None:
    agent.statuses = [unreachable()]
    assert pairvol("top", "--once").code == 0
    assert not [path for _, path, _ in agent.requests if "journals" in path]


def test_top_of_nothing(agent: FakeAgent, pairvol: Pairvol) -> None:
    assert pairvol("top").out == "no pairs\n"
