"""Two real sites for end-to-end tests, with links between them that a test can break.

Control link: each agent reaches the other through a proxy. Data link: the
primary's controller advertises another loopback address, where a proxy
listens at the ports of its journal and volume servers.
"""

from __future__ import annotations

import filecmp
import os
import tomllib
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx

from controller.api.models import Group, JournalState, VolumeCreate
from controller.errors import PeerError
from hostagent.api.models import PairCreate, PairState, PairStatus, SiteVolumes, Verdict
from hostagent.cli.demo.sites import Daemon, Site, TwoSites
from hostagent.client import Agent
from tests.support.proxy import Faults, Proxy
from tests.support.waiting import wait_until

# Where the secondary finds the primary's data servers: each test process has an address, so ports do not clash.
FAR_ADDRESS = f"127.{64 + (os.getpid() >> 8) % 64}.{os.getpid() % 256}.2"


def agent_socket(site: Site) -> str:
    """Where the agent of a site listens too."""
    return f"unix:{site.directory}/run/agent.sock"


class LinkedSites:
    """tokyo and osaka with one proxy for each way of the control link, and the data link's proxies."""

    def __init__(self, directory: Path) -> None:
        self.sites = TwoSites.create(directory)
        self.first, self.second = self.sites.primary, self.sites.secondary
        self.control_links: list[Proxy] = []
        self.data_links: list[Proxy] = []
        self.agents: dict[str, Agent] = {}
        self._stack = ExitStack()
        for site, other in ((self.first, self.second), (self.second, self.first)):
            proxy = self._stack.enter_context(Proxy(("127.0.0.1", other.agent_port)))
            self.control_links.append(proxy)
            site.peers[other.name] = f"http://127.0.0.1:{proxy.address[1]}"
            site.write_configuration()
            text = site.configuration(Daemon.CONTROLLER).read_text()
            assert "advertised_address" not in tomllib.loads(text)
            site.configuration(Daemon.CONTROLLER).write_text(f'advertised_address = "{FAR_ADDRESS}"\n{text}')
            text = site.configuration(Daemon.AGENT).read_text()
            both = f'["127.0.0.1:{site.agent_port}", "{agent_socket(site)}"]'
            site.configuration(Daemon.AGENT).write_text(text.replace(f'"127.0.0.1:{site.agent_port}"', both, 1))

    def __enter__(self) -> Self:
        self._stack.callback(self.sites.stop)
        for site in self.sites:
            self.agents[site.name] = self._stack.enter_context(Agent(site.agent_url))
        try:
            self.sites.start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    # -- asking ---------------------------------------------------------------

    def agent(self, site: Site) -> Agent:
        return self.agents[site.name]

    def group(self, site: Site, name: str) -> Group:
        """What the controller of a site says of a group, past its agent."""
        path = site.controller_address.removeprefix("unix:")
        way = httpx.HTTPTransport(uds=path, verify=False)  # without the authorities of a TLS that is not spoken
        with httpx.Client(transport=way, base_url="http://site", trust_env=False) as client:
            return Group.model_validate_json(client.get(f"/v1/groups/{name}").raise_for_status().content)

    def status(self, group: str) -> PairStatus | None:
        """The primary's agent's answer; None while it does not answer."""
        try:
            return self.agent(self.first).pair_status(group)
        except PeerError:
            return None

    def journals(self, group: str) -> tuple[JournalState, JournalState] | None:
        """Both sides' journals, asked at the primary; None while one does not answer."""
        try:
            sides = self.agent(self.first).journal(group)
        except PeerError:
            return None
        return (sides.primary, sides.secondary) if sides.primary and sides.secondary else None

    # -- doing ----------------------------------------------------------------

    def pair(self, group: str, volumes: list[str], size_bytes: int, journal_bytes: int) -> None:
        """Volumes at tokyo, a pair to osaka, and the data link's proxies; returns when it is protected."""
        agent = self.agent(self.first)
        for name in volumes:
            agent.create_volume(VolumeCreate(name=name, size_bytes=size_bytes))
        agent.create_pair(
            PairCreate(
                group=group,
                primary=SiteVolumes(site=self.first.name, volumes=volumes),
                secondary=SiteVolumes(site=self.second.name, volumes=volumes),
                journal_bytes=journal_bytes,
                secondary_journal_bytes=journal_bytes * 3 // 2,  # another size: addresses are converted
            )
        )
        self.join_data_link(group)
        self.wait_protected(group)

    def join_data_link(self, group: str, site: Site | None = None) -> None:
        """Listen at the advertised address, at every port of the group's data servers at its primary."""
        links = wait_until(lambda: self.group(site or self.first, group).links, 30, "the data servers to be up")
        assert links is not None
        uris = [links.journal_uri, links.pointers_uri, *links.volume_uris.values()]
        uris += [f"//{links.relay}"] if links.relay is not None else []
        known = {proxy.address for proxy in self.data_links}
        for host, port in {(parts.hostname or "", parts.port or 0) for parts in map(urlsplit, uris)}:
            assert host == FAR_ADDRESS, f"{host} is not the advertised address"
            if (host, port) not in known:
                self.data_links.append(self._stack.enter_context(Proxy(("127.0.0.1", port), (host, port))))

    def set_links(self, faults: Faults) -> None:
        """The same faults on every link, both ways."""
        for proxy in (*self.control_links, *self.data_links):
            proxy.set(replace(faults))

    def wait_protected(self, group: str, timeout: float = 60.0) -> None:
        def protected() -> bool:
            status = self.status(group)
            return status is not None and status.state == PairState.PAIR and status.verdict == Verdict.OK

        self._wait(protected, group, timeout, f"{group} to be protected")

    def wait_restored(self, group: str, sequence: int, timeout: float = 60.0) -> None:
        """Until the second site restored that far."""

        def restored() -> bool:
            sides = self.journals(group)
            return sides is not None and sides[1].pointers["already_restored"].sequence >= sequence

        self._wait(restored, group, timeout, f"{group} to restore up to {sequence}")

    def wait_equal(self, group: str, timeout: float = 60.0) -> None:
        """Until nothing is on its way. Only with the writers stopped."""

        def equal() -> bool:
            sides = self.journals(group)
            if sides is None:
                return False
            newest = sides[0].pointers["journal_in"].sequence
            return sides[1].pointers["already_restored"].sequence == newest

        self._wait(equal, group, timeout, f"{group} to have nothing on its way")

    def newest(self, group: str) -> int:
        """Sequence of the newest journal at the primary."""

        def asked() -> tuple[JournalState, JournalState] | None:
            return self.journals(group)

        sides = wait_until(asked, 30, f"both journals of {group} to be known")
        assert sides is not None
        return sides[0].pointers["journal_in"].sequence

    def _wait(self, condition: object, group: str, timeout: float, what: str) -> None:
        assert callable(condition)
        try:
            wait_until(condition, timeout, what, interval=0.1)
        except AssertionError as error:
            status = self.status(group)
            raise AssertionError(f"{error}; status: {status.line if status else 'no answer'}; {status}") from None

    def end_and_compare(self, volumes: list[str]) -> None:
        """Stop both sites in order, then hold the backing stores of both against each other, byte for byte."""
        stores = {name: [Path(self.agent(site).volume(name).backing) for site in self.sites] for name in volumes}
        self.sites.stop()
        for name, (primary, secondary) in stores.items():
            assert filecmp.cmp(primary, secondary, shallow=False), f"SVOL {name} differs from its PVOL"
