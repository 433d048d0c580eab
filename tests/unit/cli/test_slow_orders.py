"""Whatever a command orders of an agent: a terminal says what is waited for, Ctrl-C what goes on all the same."""

from __future__ import annotations

import threading
from typing import Any, Final

import pytest
from typer.main import get_command

from controller.errors import ConflictError
from hostagent.cli import progress
from hostagent.cli.main import app
from hostagent.transport import Channel
from tests.unit.cli.conftest import Pairvol
from tests.unit.cli.fake_agent import FakeAgent
from tests.unit.cli.samples import copying, pair_status

ORDERS: Final = {  # and words that are shown meanwhile
    "pool add spare 8G": "waiting for spare to be allocated",
    "pool remove spare": "waiting for spare to leave the pool",
    "volume create data 1G": "waiting for volume data to be made",
    "volume delete data": "waiting for volume data to be deleted",
    "volume resize data 2G": "waiting for data to grow to 2 GiB",
    "volume attach data": "waiting for the device of data",
    "volume detach data": "waiting for the device of data to be let go",
    "pair create db --primary tokyo:a --secondary osaka:a": "waiting for db to be made, with its journals",
    "pair add db --primary a,b": "waiting for a, b to join db",
    "pair remove db a": "waiting for a to leave db",
    "pair set db --limit 1M": "waiting for the limit of db",
    "pair set db --compress zstd": "waiting for the compression of db",
    "pair split db": "split of db",
    "pair resync db": "resync of db",
    "pair takeover db --to osaka": "takeover of db",
    "pair delete db": "end of db",
    "pair verify db": "verify of db",
    "pair verify db --cancel": "waiting for the end of the verify of db",
    "journal start db": "waiting for acquisition of db to start",
    "journal stop db": "waiting for acquisition of db to stop",
    "journal copy db": "waiting for the copy of db",
    "journal restore db": "waiting for the restore of db",
    "journal purge db": "waiting for the purge of db",
    "journal resize db 8M": "waiting for the journals of db to move to another size",
    "journal drop db --orphan latest --force": "waiting for kept journals of db to be dropped",
    "marker put db noon": "waiting for marker noon of db to be put",
    "marker put db noon --freeze": "waiting for marker noon of db to be put, file systems frozen",
    "drill start db": "drill of db",
    "drill start db --at noon --wait 9": "drill of db at noon (waits 9 s at most)",
    "drill start db --marker noon --check true": "drill of db at marker noon (waits 60 s at most), and its check",
    "drill stop db": "waiting for the end of the drills of db",
    "drill stop db 3": "waiting for the end of drill 3 of db",
}
AGAIN: Final = "; the same command again is safe"
LEFT: Final = {  # alone by Ctrl-C: what is said then
    "pool add spare 8G": 'the allocation of spare goes on; see it with "pairvol pool list"',
    "pool remove spare": 'the removal of spare goes on; see it with "pairvol pool list"',
    "volume create data 1G": 'the creation of data goes on; see it with "pairvol volume show data"',
    "volume delete data": 'the deletion of data goes on; see it with "pairvol volume list"',
    "volume resize data 2G": f'the growth of data goes on; see it with "pairvol volume show data"{AGAIN}',
    "volume attach data": f'the attachment of data goes on; see it with "pairvol volume list"{AGAIN}',
    "volume detach data": 'the detachment of data goes on; see it with "pairvol volume list"',
    "pair create db --primary tokyo:a --secondary osaka:a": (
        f'the creation of db goes on; see it with "pairvol pair status db"{AGAIN}'
    ),
    "pair add db --primary a,b": f'the join of a, b goes on; see it with "pairvol pair status db"{AGAIN}',
    "pair remove db a": f'the removal of a goes on; see it with "pairvol pair status db"{AGAIN}',
    "pair set db --limit 1M": f'the change goes on; see it with "pairvol pair status db"{AGAIN}',
    "pair set db --compress zstd": f'the change goes on; see it with "pairvol pair status db"{AGAIN}',
    "pair split db": f'the split goes on; see it with "pairvol pair status db"{AGAIN}',
    "pair resync db": f'the resync goes on; see it with "pairvol pair status db"{AGAIN}',
    "pair takeover db --to osaka": (
        'the takeover goes on; see it with "pairvol pair status db"; give it again with --to osaka'
    ),
    "pair delete db": f'the end of the pair goes on; see it with "pairvol pair status db"{AGAIN}',
    "pair verify db": 'the verify goes on; "pairvol pair verify db" shows it, --cancel ends it',
    "pair verify db --cancel": f'the end of the verify goes on; see it with "pairvol pair verify db --status"{AGAIN}',
    "journal start db": f'the start of acquisition goes on; see it with "pairvol journal status db"{AGAIN}',
    "journal stop db": f'the stop of acquisition goes on; see it with "pairvol journal status db"{AGAIN}',
    "journal copy db": f'the copy goes on; see it with "pairvol journal status db"{AGAIN}',
    "journal restore db": f'the restore goes on; see it with "pairvol journal status db"{AGAIN}',
    "journal purge db": f'the purge goes on; see it with "pairvol journal status db"{AGAIN}',
    "journal resize db 8M": f'the move goes on; see it with "pairvol journal status db"{AGAIN}',
    "journal drop db --orphan latest --force": 'the drop goes on; see it with "pairvol events"',
    "marker put db noon": (
        'the put of marker noon goes on; see it with "pairvol marker list db"; the same command again puts another one'
    ),
    "drill start db": 'the drill goes on; see it with "pairvol drill list db"; it ends by itself in a while, or by '
    '"pairvol drill stop db"',
    "drill stop db": f'the end of the drills goes on; see it with "pairvol drill list db"{AGAIN}',
    "drill stop db 3": f'the end of drill 3 goes on; see it with "pairvol drill list db"{AGAIN}',
}
QUESTIONS: Final = (  # that order nothing, or have a display of their own
    *("pool list", "volume list", "volume show", "pair list", "pair status", "pair wait", "journal status"),
    *("journal dump", "marker list", "drill list", "events", "top", "check", "demo"),
)
OF_THIS_MACHINE: Final = ("controller", "agent", "tls")


@pytest.mark.parametrize("words", ORDERS)
def test_a_terminal_says_what_a_slow_order_waits_for(
    words: str, agent: FakeAgent, pairvol: Pairvol, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent.held, agent.refusal = threading.Event(), ConflictError("busy")
    display = progress.display

    def shown() -> Any:
        assert agent.held is not None
        agent.held.set()  # the answer comes when something is shown
        return display()

    monkeypatch.setattr(progress, "display", shown)
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.01)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    outcome = pairvol(*words.split())
    assert (outcome.code, outcome.out) == (20, "")
    assert ORDERS[words] in outcome.err
    assert "pairvol: busy" in outcome.err


@pytest.mark.parametrize("words", LEFT)
def test_ctrl_c_says_that_it_goes_on_and_how_to_see_it(
    words: str, agent: FakeAgent, pairvol: Pairvol, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = Channel.call

    def interrupted(channel: Channel, shape: Any, method: str, path: str, **named: Any) -> Any:
        if method == "GET":
            return call(channel, shape, method, path, **named)
        raise KeyboardInterrupt

    monkeypatch.setattr(Channel, "call", interrupted)
    monkeypatch.setattr(Channel, "send", interrupted_send)
    left = pairvol(*words.split())
    assert (left.code, left.out) == (130, "")
    assert left.err.splitlines() == [LEFT[words]]


def interrupted_send(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_every_order_says_what_goes_on() -> None:
    assert {command_of(words) for words in LEFT} == {command_of(words) for words in ORDERS}


def command_of(words: str) -> str:
    """Its noun and its verb."""
    return " ".join(words.split()[:2])


def test_every_command_is_known_to_order_or_to_ask() -> None:
    nouns: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
    commands = {
        f"{noun} {verb}".strip()
        for noun, command in nouns.items()
        for verb in getattr(command, "commands", [""])
        if noun not in OF_THIS_MACHINE
    }
    assert commands == {command_of(words) for words in ORDERS} | set(QUESTIONS)


@pytest.mark.parametrize(
    ("words", "path"),
    [
        ("pair create db --primary tokyo:a --secondary osaka:a", None),
        ("pair resync db", "/v1/pairs/db/resync"),
        ("pair add db --primary a", "/v1/pairs/db/add"),
    ],
)
def test_on_a_terminal_a_copy_is_followed_to_its_end(
    words: str, path: str | None, agent: FakeAgent, pairvol: Pairvol, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent.statuses = [copying(40), pair_status()]
    if path is not None:
        agent.answers[f"POST {path}"] = agent.statuses.pop(0).model_dump(mode="json")
    assert "copying" in pairvol(*words.split()).out
    agent.statuses = [copying(40), copying(80), pair_status()]
    if path is not None:
        agent.statuses.pop(0)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert pair_status().line in pairvol(*words.split()).lines[0]
