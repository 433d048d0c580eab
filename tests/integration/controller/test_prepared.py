"""Servers that are loaded before it is known what they serve: handed over, dropped, dead, and left alone."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from controller import process, serving
from controller.api.models import TakeoverRequest
from controller.events import Events
from controller.server_plan import ServerPlan
from controller.servers import Servers
from tests.integration.controller.living import SIZE, image, in_step
from tests.support import plans
from tests.support.controllers import ControllerProcess
from tests.support.lifecycle import GROUP, Life, scribble
from tests.support.processes import alive
from tests.support.waiting import wait_until

PLUGIN = """
import os
def config(key, value):
    if key == "prepared" and not os.read(0, 1):
        os._exit(0)
def open(readonly): return None
def get_size(handle): return 512
def pread(handle, buf, offset, flags): pass
API_VERSION = 2
"""


@pytest.fixture
def servers(events: Events) -> Iterator[Servers]:
    servers = Servers(events)
    yield servers
    servers.stop_all()


@pytest.fixture
def plan(directory: Path) -> ServerPlan:
    plugin = directory / "plugin.py"
    plugin.write_text(PLUGIN)
    return plans.plan(directory, "python", str(plugin))


def waiting(plan: ServerPlan) -> int:
    """The pid of the process that was started by this plan."""
    found = wait_until(lambda: process.adopt(plan.pidfile), what="the prepared server")
    assert found is not None
    found.close()
    return found.pid


def kept_pid(servers: Servers) -> int:
    servers.wait_ready("m", 20)
    keeper = servers.find("m")
    assert keeper is not None
    assert keeper.pid is not None
    return keeper.pid


def test_who_keeps_it_is_handed_the_prepared_one(servers: Servers, plan: ServerPlan) -> None:
    servers.prepare(plan)
    pid = waiting(plan)
    servers.prepare(plan)  # once more changes nothing
    assert not plan.pidfile.exists(), "it serves before it is told to"
    servers.keep(plan)
    assert kept_pid(servers) == pid
    servers.drop_prepared()  # it is none of them any more
    servers.prepare(plan)
    assert alive(pid)
    assert kept_pid(servers) == pid


def test_one_that_is_not_wanted_ends_and_the_next_is_started_anew(servers: Servers, plan: ServerPlan) -> None:
    servers.prepare(plan)
    pid = waiting(plan)
    servers.drop_prepared({"m"})
    assert alive(pid)
    servers.drop_prepared({"other"})
    assert not alive(pid)
    servers.keep(plan)
    assert kept_pid(servers) != pid


def test_one_that_died_hinders_nobody(servers: Servers, plan: ServerPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    servers.prepare(plan)
    pid = waiting(plan)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid))
    servers.prepare(plan)
    assert process.adopt(plan.pidfile) is None, "another one at once might end in the same way"
    monkeypatch.setattr("controller.prepared.AGAIN_SECONDS", 0.0)
    servers.prepare(plan)
    second = waiting(plan)
    os.kill(second, signal.SIGKILL)
    wait_until(lambda: not alive(second))
    servers.keep(plan)
    assert kept_pid(servers) not in (pid, second)


def test_one_that_cannot_be_started_is_left_to_its_keeper(servers: Servers, plan: ServerPlan) -> None:
    servers.prepare(replace(plan, command=lambda: ["/no/such/program"]))
    servers.keep(plan)
    kept_pid(servers)


def test_a_machine_out_of_files_hinders_no_takeover(servers: Servers, plan: ServerPlan) -> None:
    def refuse(_: int) -> tuple[int, int]:
        raise OSError(errno.EMFILE, "too many open files")

    appliance: Any = SimpleNamespace(servers=servers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pipe2", refuse)
        patch.setattr(serving, "_volume_plan", lambda *_: plan)
        serving.prepare(appliance, "m")
    servers.keep(plan)
    kept_pid(servers)


def test_a_secondary_has_one_which_a_takeover_uses_and_which_ends_with_its_controller(life: Life) -> None:
    tokyo, osaka = life.primary, life.secondary
    first = _prepared(osaka)
    osaka.restart()
    wait_until(lambda: not alive(first), what="the prepared server to end with its controller")
    scribble(tokyo.wait_served("data"), SIZE, 3)
    second = _prepared(osaka)
    life.pair.follow()
    in_step(life)
    osaka.client.take_over(GROUP, TakeoverRequest(generation=2))
    assert osaka.server_pid("v-data") == second
    assert image(osaka) == image(tokyo)


def _prepared(controller: ControllerProcess) -> int:
    def found() -> int | None:
        servers = process.servers_under(controller.run_directory)
        return next((pid for pid, pidfile in servers if pidfile.name.startswith("v-")), None)

    return wait_until(found, 30, "a prepared server") or 0
