"""tokyo and osaka with certificates, listening at every address of this machine and calling each other with TLS only.

Besides, each agent listens at its plain loopback address, where the test asks.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from controller.api.client import ControllerClient
from controller.api.models import Links
from controller.certificates import Authority
from controller.tls import Certificates
from hostagent.api.models import PairCreate, PairState, SiteVolumes, Verdict
from hostagent.cli.demo.sites import Daemon, Site, TwoSites, free_ports
from hostagent.client import Agent
from tests.support.replication import FAR_ADDRESS
from tests.support.waiting import wait_until


class SecuredSites:
    """Two sites of one authority; `folder` is the authority's. The controller of osaka listens with TLS too."""

    def __init__(self, directory: Path) -> None:
        self.folder = directory / "authority"
        self.authority = Authority.open(self.folder)
        self.sites = TwoSites.create(directory)
        self.first, self.second = self.sites.primary, self.sites.secondary
        self.ports = dict(zip(("tokyo", "osaka", "controller of osaka"), free_ports(3), strict=True))
        self.agents: dict[str, Agent] = {}
        self._stack = ExitStack()
        for site, other in ((self.first, self.second), (self.second, self.first)):
            self.authority.issue(site.name, [FAR_ADDRESS])
            site.peers[other.name] = self.url(other)
            site.write_configuration()
            self._configure(site)

    def url(self, site: Site) -> str:
        """Where the other site calls an agent."""
        return f"https://{FAR_ADDRESS}:{self.ports[site.name]}"

    def controller_url(self, site: Site) -> str:
        """Where the other site calls a controller, to stand in for its agent."""
        return f"https://{FAR_ADDRESS}:{self.ports[f'controller of {site.name}']}"

    def certificates(self, site: Site) -> Certificates:
        return Certificates(self.folder / site.name)

    def _configure(self, site: Site) -> None:
        tls = f'\n[tls]\ndirectory = "{self.folder / site.name}"\n'
        path = site.configuration(Daemon.CONTROLLER)
        text = path.read_text().replace('"127.0.0.1"', f'"0.0.0.0"\nadvertised_address = "{FAR_ADDRESS}"')
        port, socket = self.ports.get(f"controller of {site.name}"), site.controller_address
        if port is not None:
            text = text.replace(socket, f"https://0.0.0.0:{port}")
        path.write_text(text + tls)
        path = site.configuration(Daemon.AGENT)
        plain = f'"127.0.0.1:{site.agent_port}"'
        text = path.read_text().replace(plain, f'[{plain}, "https://0.0.0.0:{self.ports[site.name]}"]', 1)
        if port is not None:
            text = text.replace(socket, f"https://127.0.0.1:{port}")
        path.write_text(text + tls)

    def __enter__(self) -> Self:
        self._stack.callback(self.sites.stop)
        try:
            self.sites.start()
            for site in self.sites:
                self.agents[site.name] = self._stack.enter_context(Agent(site.agent_url))
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def pair(self, group: str) -> None:
        sides = {
            side: SiteVolumes(site=site.name, volumes=[group])
            for side, site in (("primary", self.first), ("secondary", self.second))
        }
        self.agents["tokyo"].create_pair(PairCreate(group=group, **sides))
        self.wait_protected(group)

    def wait_protected(self, group: str, asked: str = "tokyo") -> None:
        def protected() -> bool:
            status = self.agents[asked].pair_status(group)
            return status.state is PairState.PAIR and status.verdict is Verdict.OK

        wait_until(protected, 60, f"{group} to be protected")

    def links(self, site: Site, group: str) -> Links | None:
        """Where the data of a primary is read, when it can be."""
        with ControllerClient(site.controller_address) as client:
            return client.group(group).links
