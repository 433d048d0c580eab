"""tokyo with two hosts at one appliance, and osaka, whose agent reaches tokyo's controller."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from hostagent.api.models import PairState, PairStatus
from hostagent.cli.demo.sites import Daemon, Site, TwoSites, free_ports
from hostagent.client import Agent
from tests.support.waiting import wait_until

PACE = "\n[copy]\nbeat_seconds = 0.2\nidle_beat_seconds = 0.5\ndriver_seconds = 1.5\nunknown_after_seconds = 1.5\n"


class ThreeHosts:
    """Agents of hosts tokyo-a and tokyo-b (one controller) and of osaka."""

    def __init__(self, directory: Path) -> None:
        self.sites = TwoSites.create(directory)
        self.a, self.osaka = self.sites.primary, self.sites.secondary
        self.b = Site("tokyo", directory / "tokyo-b", free_ports(1)[0])
        self.b.peers[self.osaka.name] = self.osaka.agent_url
        self.b.write_configuration()
        self._configure(self.a, 'host = "tokyo-a"\n', f'[hosts.tokyo-b]\nagent = "{self.b.agent_url}"\n')
        self._configure(self.b, 'host = "tokyo-b"\n', f'[hosts.tokyo-a]\nagent = "{self.a.agent_url}"\n')
        shared = self.b.configuration(Daemon.AGENT)
        shared.write_text(shared.read_text().replace(self.b.controller_address, self.a.controller_address))
        reach = f'other_agents = ["{self.b.agent_url}"]\ncontroller = "{self.a.controller_address}"\n'
        self._configure(self.osaka, "", reach)
        self._stack = ExitStack()
        self.agents = {site.agent_url: self._stack.enter_context(Agent(site.agent_url)) for site in self.hosts}

    @property
    def hosts(self) -> tuple[Site, Site, Site]:
        return self.a, self.b, self.osaka

    @staticmethod
    def _configure(site: Site, first: str, last: str) -> None:
        """Add to an agent's configuration; `last` goes on with its last table."""
        path = site.configuration(Daemon.AGENT)
        path.write_text(f"{first}{path.read_text()}{last}{PACE}")

    def __enter__(self) -> Self:
        self._stack.callback(self.sites.stop)
        self._stack.callback(self.b.stop)
        try:
            self.sites.start()
            self.b.start(Daemon.AGENT)
            self.b.wait_ready()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def agent(self, site: Site) -> Agent:
        return self.agents[site.agent_url]

    def driver(self, group: str) -> str | None:
        """Who drives at tokyo, as osaka is told."""
        state = self.agent(self.osaka).journal(group).primary
        return state.driver if state is not None else None

    def wait_driver(self, group: str, name: str) -> None:
        wait_until(lambda: self.driver(group) == name, 20, f"{name} to drive {group}", interval=0.1)

    def wait_status(self, site: Site, group: str, state: PairState, words: str = "") -> PairStatus:
        def reached() -> PairStatus | None:
            status = self.agent(site).pair_status(group)
            return status if status.state is state and words in status.line else None

        try:
            found = wait_until(reached, 30, f"{group} to be {state} {words!r}", interval=0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.agent(site).pair_status(group)}") from None
        assert found is not None
        return found
