"""Two real sites, shared by the tests of one module, and a pair of small volumes for each test."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from controller.api.models import VolumeCreate
from controller.errors import NotFoundError
from hostagent.api.models import PairCreate, PairPolicy, PairState, PairStatus, SiteVolumes
from hostagent.cli.demo.sites import Daemon, Site
from hostagent.client import Agent
from tests.support.nbdkit import connected
from tests.support.proxy import Faults
from tests.support.replication import LinkedSites
from tests.support.waiting import wait_until

VOLUME_BYTES = 16 << 20
JOURNAL_BYTES = 8 << 20
BLOCK = 4096
CONFIRM_SECONDS = 5  # of drills at osaka: long for who confirms at once
HOOKS = "hooks.told"  # in the directory of tokyo: while it is there, its hooks say in it what they were called for

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def shared(session_directory: Path) -> Iterator[LinkedSites]:
    made = LinkedSites(Path(tempfile.mkdtemp(prefix="m", dir=session_directory)))
    for site in made.sites:
        path = site.configuration(Daemon.CONTROLLER)
        path.write_text(f"{path.read_text()}\n[journal]\nfull_wait_seconds = 0.5\n")
    told = f'["test ! -e {HOOKS} || echo $PAIRVOL_STAGE $PAIRVOL_EVENT $PAIRVOL_MARKER $PAIRVOL_RESULT >>{HOOKS}"]'
    told = told.replace(HOOKS, str(made.first.directory / HOOKS))
    path = made.first.configuration(Daemon.AGENT)
    path.write_text(f"{path.read_text()}\n[hooks]\nbefore = {told}\nafter = {told}\n")
    path = made.second.configuration(Daemon.AGENT)
    path.write_text(f"{path.read_text()}\n[drill]\nconfirm_seconds = {CONFIRM_SECONDS}\n")
    with made as sites:
        yield sites


@dataclass
class Case:
    """A group of one volume of its own, at two sites."""

    linked: LinkedSites
    name: str
    primary: str = "tokyo"  # as the pair was made

    def __post_init__(self) -> None:
        self.volumes = [self.name]
        self.made = self.order()

    @property
    def tokyo(self) -> Agent:
        return self.linked.agent(self.linked.first)

    @property
    def osaka(self) -> Agent:
        return self.linked.agent(self.linked.second)

    def make_volume(self, size_bytes: int = VOLUME_BYTES) -> None:
        self.tokyo.create_volume(VolumeCreate(name=self.name, size_bytes=size_bytes))

    def order(self, **changes: object) -> PairCreate:
        order = PairCreate(
            group=self.name,
            primary=SiteVolumes(site="tokyo", volumes=self.volumes),
            secondary=SiteVolumes(site="osaka", volumes=self.volumes),
            journal_bytes=JOURNAL_BYTES,
            secondary_journal_bytes=2 * JOURNAL_BYTES,
        )
        return PairCreate.model_validate(order.model_dump() | changes)

    def pair(self, policy: PairPolicy | None = None, *, protected: bool = True) -> None:
        """A pair, linked through the proxies, and protected unless it cannot be."""
        self.make_volume()
        self.create(policy)
        if protected:
            self.wait_state(PairState.PAIR)
            self.wait_marked(restored=(policy or PairPolicy()) == PairPolicy())

    def create(self, policy: PairPolicy | None = None) -> None:
        self.made = self.order(policy=(policy or PairPolicy()).model_dump())
        self.tokyo.create_pair(self.made)
        self.linked.join_data_link(self.name)

    def journal_bytes(self) -> int:
        """What the primary's journal holds."""
        state = self.tokyo.journal(self.name).primary
        assert state is not None
        return state.data_capacity_bytes

    def wait_marked(self, *, restored: bool) -> None:
        """The marker of the initial copy is journal 1, from here on."""

        def marked() -> bool:
            sides = self.tokyo.markers(self.name)
            return bool(sides.secondary if restored else sides.primary)

        wait_until(marked, 30, "the marker of the initial copy", interval=0.1)

    def status(self, agent: Agent | None = None) -> PairStatus:
        return (agent or self.tokyo).pair_status(self.name)

    def wait_state(self, state: PairState, agent: Agent | None = None, timeout: float = 30) -> PairStatus:
        def reached() -> PairStatus | None:
            status = self.status(agent)
            return status if status.state is state else None

        try:
            found = wait_until(reached, timeout, f"{self.name} to be {state}", interval=0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.status(agent)}") from None
        assert found is not None
        return found

    def write(self, number: int, count: int = 1, agent: Agent | None = None) -> None:
        """Write and flush blocks that all say `number`, from the volume's beginning on."""
        uri = (agent or self.tokyo).volume(self.name).uri
        assert uri is not None
        with connected(uri) as handle:
            for index in range(count):
                handle.pwrite(number.to_bytes(4, "big") * (BLOCK // 4), index * BLOCK)
            handle.flush()

    def number_at(self, site: Site, block: int = 0) -> int:
        """What the backing store of a site says at a block."""
        with Path(self.linked.agent(site).volume(self.name).backing).open("rb") as store:
            store.seek(block * BLOCK)
            return int.from_bytes(store.read(4), "big")

    def wait_restored(self, number: int, block: int = 0) -> None:
        wait_until(lambda: self.number_at(self.linked.second, block) == number, 30, f"{number} at the secondary")


@pytest.fixture
def case(shared: LinkedSites) -> Iterator[Case]:
    made = Case(shared, f"g{next(_numbers)}")
    yield made
    shared.set_links(Faults())
    for site in shared.sites:
        for daemon in Daemon:
            if site.daemon_process(daemon) is None:
                site.start(daemon)
        site.wait_ready()
    for agent in (made.tokyo, made.osaka):  # a pair that is left would go on, and take part in the next test's faults
        with suppress(NotFoundError):
            agent.delete_pair(made.name, force=True)
