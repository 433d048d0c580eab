"""Two sites with their daemons in network namespaces of their own: every byte between them is a packet on the wire."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from controller.errors import PairvolError
from hostagent.cli.demo.sites import Daemon, Site, TwoSites
from hostagent.client import Agent
from tests.crash.network.namespaces import FAR_ADDRESS, Namespace, Network
from tests.support.replication import LinkedSites

AGENT_PORTS = (7811, 7812)  # in namespaces of their own nobody else has them
MUTANT_PROGRAM = "tests.crash.network.mutants"


@dataclass
class FarSite(Site):
    """A site inside a namespace; it is asked over Unix sockets, which are the same in all of them."""

    prefix: list[str] = field(default_factory=list)
    mutant: str = ""

    @property
    def agent_url(self) -> str:
        return f"unix:{self.directory}/run/agent.sock"

    def command(self, daemon: Daemon) -> list[str]:
        words = super().command(daemon)
        if self.mutant and daemon is Daemon.CONTROLLER:
            words = [sys.executable, "-m", MUTANT_PROGRAM, self.mutant, *words[3:]]
        return [*self.prefix, *words]

    def write_configuration(self) -> None:
        super().write_configuration()
        for daemon, old, new in (
            (
                Daemon.AGENT,
                f'listen = "127.0.0.1:{self.agent_port}"',
                f'listen = ["127.0.0.1:{self.agent_port}", "{self.agent_url}"]',
            ),
            (Daemon.CONTROLLER, "data_address", f'advertised_address = "{FAR_ADDRESS}"\ndata_address'),
        ):
            path = self.configuration(daemon)
            text = path.read_text()
            assert old in text
            path.write_text(text.replace(old, new, 1))

    def ready(self) -> bool:
        with Agent(self.agent_url) as agent:
            try:
                return agent.info().controller_ok
            except PairvolError:
                return False


class NetworkedSites(LinkedSites):
    """tokyo and osaka on the two ends of a wire; `mutant` puts a mistake into osaka's controller."""

    def __init__(self, directory: Path, seed: int = 1, mutant: str = "") -> None:
        self._stack = ExitStack()
        self.control_links, self.data_links, self.agents = [], [], {}
        self.network = self._stack.enter_context(Network(list(AGENT_PORTS), seed))
        self.first, self.second = (
            FarSite(name, directory / name, port, prefix=namespace.prefix)
            for name, port, namespace in zip(("tokyo", "osaka"), AGENT_PORTS, self.network.namespaces, strict=True)
        )
        self.second.mutant = mutant
        for site, other in ((self.first, self.second), (self.second, self.first)):
            site.peers[other.name] = f"http://{FAR_ADDRESS}:{other.agent_port}"
            site.write_configuration()
        self.sites = TwoSites(directory, self.first, self.second)

    @property
    def ends(self) -> tuple[Namespace, ...]:
        """The namespaces of tokyo and osaka."""
        return self.network.namespaces

    def newest_read(self) -> int:
        """Sequence of the newest journal that osaka has, asked there."""
        side = self.agent(self.second).journal("order").secondary
        return side.pointers["already_read"].sequence if side else 0

    def join_data_link(self, group: str, site: Site | None = None) -> None:
        """Every port is on the wire already."""
