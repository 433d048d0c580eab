"""One agent: what its process keeps in memory, and its pair, which it keeps durably."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from random import Random

from controller.api.models import InitialCopyMethod
from controller.errors import ConflictError
from hostagent.api.models import Pair, PairPolicy, PairState, SiteVolumes
from hostagent.config import CopySettings
from hostagent.copy_manager.actions import Action
from hostagent.copy_manager.facts import Facts
from hostagent.copy_manager.manager import CopyManager
from hostagent.copy_manager.side import Instant
from hostagent.pairs import PairStore
from tests.simulation.timeline import EPOCH_NS

MakeManager = Callable[[CopySettings], CopyManager]


def any_identity(chance: Random) -> str:
    return str(uuid.UUID(int=chance.getrandbits(128)))


def pair_of(identity: str, policy: PairPolicy, volumes: tuple[str, ...] = ("data",)) -> Pair:
    """The pair db from tokyo to osaka."""
    return Pair(
        group="db",
        uuid=identity,
        generation=1,
        primary=SiteVolumes(site="tokyo", volumes=list(volumes)),
        secondary=SiteVolumes(site="osaka", volumes=list(volumes)),
        initial_copy=InitialCopyMethod.DIRECT,
        policy=policy,
        created_ns=EPOCH_NS,
    )


class MemoryStore(PairStore):
    """What is kept survives a crash of the agent, because the history keeps it."""

    def __init__(self, pair: Pair) -> None:
        self._lock = threading.Lock()
        self._pairs = {pair.group: pair}
        self._certain = True

    def _write(self, pairs: dict[str, Pair]) -> None:
        self._pairs = pairs


class Agent:
    """`store` is durable; the rest begins anew with every life."""

    def __init__(self, site: str, pair: Pair, instant: Instant, make_manager: MakeManager) -> None:
        self.site, self._make_manager = site, make_manager
        self.settings = CopySettings()
        self.store = MemoryStore(pair)
        self.up, self.life = False, 0
        self.begin(instant)

    def begin(self, instant: Instant) -> None:
        self.life += 1
        self.facts = Facts(self.site, self.pair, instant)
        self.manager = self._make_manager(self.settings)
        self.state = PairState.SMPL
        self.queue: list[Action] = []
        self.busy = False
        self.wake = 0

    def die(self) -> None:
        self.up, self.life = False, self.life + 1

    @property
    def pair(self) -> Pair:
        return self.store.get("db")

    def save(self, pair: Pair) -> Pair:
        """What is kept then: a command may have been faster."""
        try:
            self.store.put(pair)
        except ConflictError:
            return self.pair
        return pair
