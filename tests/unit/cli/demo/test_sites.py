"""The harness without daemons: marks, ports, records, clean-up. With daemons: tests/e2e."""

from __future__ import annotations

import os
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.config import load as load_controller
from controller.errors import ConflictError, NotFoundError, PeerError
from hostagent.cli.demo import workspace as workspaces
from hostagent.cli.demo.processes import MARK, marked_processes, wait_until
from hostagent.cli.demo.sites import Daemon, Site, TwoSites, free_ports
from hostagent.cli.demo.workspace import Workspace, left_over
from hostagent.config import load as load_agent


@pytest.fixture
def marked(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the site in tmp_path / tokyo, and its child."""
    environment = os.environ | {MARK: str(tmp_path / "tokyo")}
    shell = subprocess.Popen(["sh", "-c", "sleep 600 & wait"], env=environment)
    yield shell
    Site("tokyo", tmp_path / "tokyo", 1).kill_site()
    shell.wait(10)


def test_everything_a_site_starts_is_found_and_nothing_else(tmp_path: Path, marked: subprocess.Popen[bytes]) -> None:
    site = Site("tokyo", tmp_path / "tokyo", 1)
    assert wait_until(lambda: len(site.processes()) == 2, 10)
    assert wait_until(lambda: [process.name() for process in site.processes("sleep")] == ["sleep"], 10)
    assert marked_processes(str(tmp_path / "osaka")) == []
    assert site.kill_site() == 2
    assert wait_until(lambda: not site.processes(), 10)


def test_stop_ends_everything(tmp_path: Path, marked: subprocess.Popen[bytes]) -> None:
    site = Site("tokyo", tmp_path / "tokyo", 1)
    site.stop()
    assert wait_until(lambda: not site.processes(), 10)


def test_configuration_is_what_the_daemons_read(short_path: Path) -> None:
    sites = TwoSites.create(short_path)
    for site, other in ((sites.primary, sites.secondary), (sites.secondary, sites.primary)):
        controller = load_controller(site.configuration(Daemon.CONTROLLER))
        agent = load_agent(site.configuration(Daemon.AGENT))
        assert (controller.site, agent.site) == (site.name, site.name)
        assert agent.peers[other.name].agent == other.agent_url
        assert agent.controller == tomllib.loads(site.configuration(Daemon.CONTROLLER).read_text())["listen"]


def test_ports_differ() -> None:
    assert len(set(free_ports(20))) == 20


def test_a_daemon_that_ends_at_start_is_named_with_its_last_words(short_path: Path) -> None:
    site = TwoSites.create(short_path).primary
    site.configuration(Daemon.AGENT).write_text("site = 'tokyo'\nnonsense = 1\n")
    site.start(Daemon.AGENT)
    with pytest.raises(PeerError, match="the agent of tokyo ended with code") as failure:
        site.wait_ready(20)
    assert str(site.log(Daemon.AGENT)) in failure.value.hint


def test_a_directory_is_used_once(short_path: Path) -> None:
    directory = short_path / "d"
    workspace = Workspace.create(directory)
    with pytest.raises(ConflictError, match="holds a demonstration already"):
        Workspace.create(directory)
    assert workspace.made
    workspace.remove()
    assert not directory.exists()


def test_a_directory_of_the_user_stays_with_what_is_in_it(short_path: Path) -> None:
    (short_path / "precious").write_text("x")
    with pytest.raises(ConflictError, match="is not empty"):
        Workspace.create(short_path)
    (short_path / "precious").unlink()
    workspace = Workspace.create(short_path)
    (short_path / "note").write_text("mine")
    workspace.remove()
    assert [path.name for path in short_path.iterdir()] == ["note"]


def test_stop_finds_what_nobody_runs_any_more(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspaces, "PARENT", short_path)
    kept = Workspace.create(short_path / "pairvol-demo-kept")
    kept.record(None)
    running = Workspace.create(short_path / "pairvol-demo-running")
    running.record(1)  # a process that lives as long as the machine
    assert [workspace.directory for workspace in left_over(None)] == [kept.directory]
    assert not kept.owned()
    assert running.owned()
    with pytest.raises(NotFoundError):
        left_over(short_path / "nothing")
