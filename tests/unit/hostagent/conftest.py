"""Facts about a pair, as the parts of the copy manager get them."""

from __future__ import annotations

import pytest

from controller.api.models import Role
from hostagent.api.models import PairPolicy
from hostagent.copy_manager.facts import Facts
from hostagent.copy_manager.side import Instant
from tests.simulation.agent import pair_of
from tests.simulation.primary import Primary
from tests.simulation.secondary import Secondary
from tests.simulation.timeline import EPOCH_NS, wall


class Scene:
    """A pair of small controllers at one moment, and what the agents of both sites know of it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pair = pair_of("u-1", PairPolicy(), ("data", "log"))
        self.primary = Primary("tokyo", "osaka", Role.PRIMARY, "u-1")
        self.secondary = Secondary("osaka", "tokyo", Role.SECONDARY, "u-1")
        self.secondary.consistent, self.secondary.link_contact = 0, self.now

    @property
    def instant(self) -> Instant:
        return Instant(self.now, wall(self.now))

    def writes(self, count: int) -> None:
        self.primary.host_writes(self.now, count)
        self.primary.flush()

    def copies(self, to_sequence: int) -> None:
        self.secondary.read = self.secondary.restored = to_sequence
        self.secondary.last_read_ns = self.primary.times[to_sequence]

    def facts(self, site: str = "tokyo") -> Facts:
        """Facts of the agent of `site` that has just heard everything."""
        facts = Facts(site, self.pair, Instant(0.0, EPOCH_NS))
        self.look(facts)
        return facts

    def look(self, facts: Facts) -> None:
        """Let an agent hear both sides now."""
        from hostagent.api.models import ExchangeAnswer

        states = {"tokyo": self.primary.state(self.now), "osaka": self.secondary.state(self.now)}
        facts.own_state(self.instant, states[facts.site])
        facts.heard(self.instant, ExchangeAnswer(site=facts.peer_site, pair=self.pair, state=states[facts.peer_site]))


@pytest.fixture
def scene() -> Scene:
    return Scene()
