"""What breaks, and comes back by itself after a while: agents, controllers, whole sites, links."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tests.simulation.network import AgentT, Network, SiteT


class Faults(Network[AgentT, SiteT]):
    """A time of faults, then peace."""

    def __init__(self, seed: int, losses: list[float], delays: list[float], outages: list[float]) -> None:
        super().__init__(seed, losses, delays)
        self._outages = outages
        self.peace = False

    def faults(self) -> list[Callable[[], None]]:
        """What may happen in any history; crashes of agents and controllers of either site."""
        return [
            *[partial(self.crash_agent, name) for name in self.agents],
            *[partial(self.crash_site, name) for name in self.sites],
            self.cut_link,
            self.cut_data_link,
        ]

    def happened(self, kind: str) -> None:
        """A fault that was scheduled did change something."""
        self.counts[kind] += 1
        self.counts["faults"] += 1

    def outage(self) -> float:
        return self.chance.choice(self._outages) * self.chance.uniform(0.5, 1.5)

    def start_agent(self, name: str) -> None:
        agent = self.agents[name]
        if not agent.up:
            agent.begin(self.instant)
            agent.up = True
            self.turn(agent)

    def crash_agent(self, name: str, seconds: float | None = None) -> None:
        if self.agents[name].up:
            self.happened("agent crashes")
        self.agents[name].die()
        self.after(self.outage() if seconds is None else seconds, lambda: self.start_agent(name))

    def crash_site(self, name: str, *, power: bool = False) -> None:
        """The controller dies; with `power` all of the site is away."""
        site, away = self.sites[name], self.outage()
        if site.up:
            self.happened("sites lost" if power else "controller crashes")
        site.crash(self.now, power=power)
        self.after(away, lambda: setattr(site, "up", True))
        if power:
            self.crash_agent(name, away)

    def cut_link(self) -> None:
        if self.link_up:
            self.happened("link cuts")
        self.link_up = False
        self.after(self.outage(), lambda: setattr(self, "link_up", True))

    def cut_data_link(self) -> None:
        if self.data_up:
            self.happened("data link cuts")
        self.data_up = False
        self.after(self.outage(), lambda: setattr(self, "data_up", True))

    def make_peace(self) -> None:
        """Everybody is back, nothing is lost any more."""
        self.peace, self.loss, self.slow = True, 0.0, 0.01
        self.link_up = self.data_up = True
        for site in self.sites.values():
            site.up = True
        for name in self.agents:
            self.start_agent(name)
