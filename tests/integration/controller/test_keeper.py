"""A keeper and a real nbdkit: adopted, restarted, given up on and ended."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from controller import process
from controller.api.models import ServerState
from controller.errors import PeerError, UsageError
from controller.events import Events
from controller.keeper import Keeper
from controller.server_plan import ServerPlan
from controller.servers import Servers, stop_strays
from tests.support.plans import plan
from tests.support.processes import alive
from tests.support.waiting import wait_until


@contextmanager
def kept(plan: ServerPlan, events: Events) -> Iterator[Keeper]:
    keeper = Keeper(plan, events)
    try:
        keeper.wait_ready(20)
        yield keeper
    finally:
        keeper.stop()


def test_a_server_is_nobodys_child_and_survives_the_thread_that_started_it(events: Events, directory: Path) -> None:
    started: list[process.ServerProcess] = []
    each = plan(directory)
    thread = threading.Thread(target=lambda: started.append(process.spawn(each.command(), os.environ, each.log)))
    thread.start()
    thread.join()
    wait_until(each.pidfile.exists)
    (server,) = started
    assert process.command_line(server.pid) == each.command()
    assert server.alive()
    parent = int(Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()[1])
    assert parent != os.getpid()
    server.send(signal.SIGTERM)
    assert server.wait(20)
    server.close()


def test_one_that_runs_is_adopted_even_without_its_pidfile(events: Events, directory: Path) -> None:
    first = Keeper(plan(directory), events)
    first.wait_ready(20)
    pid = first.pid
    first.leave()
    assert pid is not None
    assert alive(pid)
    (directory / "m.pid").write_text("1\n")  # a lie: that pid is another program
    found = process.adopt(directory / "m.pid")
    assert found is not None
    assert found.pid == pid
    found.close()
    (directory / "m.pid").write_text(f"{pid}\n")
    with kept(plan(directory), events) as second:
        assert second.pid == pid
    assert not alive(pid)
    assert [event.name for event in events.after(0)] == ["server.started", "server.adopted"]


def test_one_that_dies_comes_back(events: Events, directory: Path) -> None:
    with kept(plan(directory), events) as keeper:
        pid = keeper.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: keeper.state is ServerState.RUNNING and keeper.pid != pid)
    assert [event.name for event in events.after(0)] == ["server.started", "server.died", "server.started"]


def test_one_that_cannot_start_says_why_once(events: Events, directory: Path) -> None:
    keeper = Keeper(plan(directory, "file", "/nowhere/at/all"), events)
    with pytest.raises(PeerError, match="/nowhere/at/all"):
        keeper.wait_ready(20)
    wait_until(lambda: keeper.failures >= 3)
    keeper.stop()
    assert [event.name for event in events.after(0)] == ["server.failed"]
    assert keeper.state is ServerState.STOPPED


def test_a_program_that_is_not_there_is_named(directory: Path, events: Events) -> None:
    with pytest.raises(UsageError, match="program nbdkit is not installed"):
        process.spawn(["nbdkit"], {"PATH": "/nowhere"}, directory / "log")


def test_one_that_does_not_end_when_asked_is_killed(events: Events, directory: Path) -> None:
    with kept(plan(directory, stop_seconds=0.1), events) as keeper:
        pid = keeper.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
    assert not alive(pid)
    assert not (directory / "m.pid").exists()
    assert [event.name for event in events.after(0)] == ["server.started", "server.killed"]


def test_strays_are_ended_and_kept_ones_are_not(events: Events, directory: Path) -> None:
    servers = Servers(events)
    servers.keep(plan(directory))
    servers.wait_ready("m", 20)
    assert stop_strays(directory, {directory / "m.pid"}) == []
    keeper = servers.find("m")
    assert keeper is not None
    pid = keeper.pid
    servers.leave_all()
    (directory / "old.pid").write_text("1\n")  # of a server that was killed with its controller
    assert stop_strays(directory, set()) == [pid]
    assert not list(directory.glob("*.pid"))
    with pytest.raises(PeerError, match="is not kept here"):
        servers.wait_ready("m", 1)
