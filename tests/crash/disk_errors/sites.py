"""Two sites and their pair, on which many rows follow one another: nothing is started anew between them.

Owns the daemons, what was written last, and how a row waits for the pair.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from controller.api.models import JournalState, VolumeCreate
from controller.journal.pointers import Pointer
from hostagent.api.models import PairCreate, PairState, PairStatus, SiteVolumes
from hostagent.cli.demo.sites import Daemon, Site, TwoSites
from hostagent.client import Agent
from tests.crash.disk_errors.refusal import Fault, Refusal, refused
from tests.support.nbdkit import connected, read_all
from tests.support.processes import Processes
from tests.support.waiting import wait_until

GROUP: Final = "db"
VOLUME: Final = "data"
VOLUME_BYTES: Final = 2 << 20
JOURNAL_BYTES: Final = 4 << 20
BLOCK: Final = 4096
SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.1


class Sites:
    """tokyo and osaka; `now` is the primary at present, `other` the secondary."""

    def __init__(self, processes: Processes, directory: Path, sites: TwoSites, agents: dict[str, Agent]) -> None:
        self._processes, self._directory = processes, directory
        self.now, self.other = sites
        self._agents = agents
        self._numbers = itertools.count(1)
        self.written = 0

    @property
    def primary(self) -> Agent:
        return self._agents[self.now.name]

    @property
    def secondary(self) -> Agent:
        return self._agents[self.other.name]

    def turned(self) -> None:
        """The pair runs in the other direction."""
        self.now, self.other = self.other, self.now

    def group_of(self, site: Site) -> Path:
        """The directory of the journal group."""
        return site.state_directory(Daemon.CONTROLLER) / "groups" / GROUP

    def pid(self, site: Site, daemon: Daemon) -> int:
        process = site.daemon_process(daemon)
        assert process is not None
        return process.pid

    def server_pid(self) -> int:
        """Of the volume server of the primary."""
        return int((self.now.directory / "run" / f"v-{VOLUME}.pid").read_text())

    def refused(self, pid: int, fault: Fault, document: Path) -> AbstractContextManager[Refusal]:
        return refused(self._processes, self._directory, pid, fault, document)

    # -- what is in the volumes ----------------------------------------------------

    def write(self) -> int:
        """Write a number of its own into the first block, durably; which."""
        self.written = next(self._numbers)
        with connected(self._uri()) as handle:
            handle.pwrite(self.written.to_bytes(4, "big") * (BLOCK // 4), 0)
            handle.flush()
        return self.written

    def number_at_secondary(self) -> int:
        with self._backing(self.secondary).open("rb") as store:
            return int.from_bytes(store.read(4), "big")

    def differs(self) -> bool:
        return read_all(self._uri()) != self._backing(self.secondary).read_bytes()

    def _uri(self) -> str:
        uri = self.primary.volume(VOLUME).uri
        assert uri is not None
        return uri

    @staticmethod
    def _backing(agent: Agent) -> Path:
        return Path(agent.volume(VOLUME).backing)

    # -- how the pair is -------------------------------------------------------------

    def status(self) -> PairStatus:
        return self.primary.pair_status(GROUP)

    def of_secondary(self) -> JournalState:
        state = self.secondary.journal(GROUP).secondary
        assert state is not None
        return state

    def newest(self) -> int:
        """Sequence of the primary's newest journal."""
        state = self.primary.journal(GROUP).primary
        assert state is not None
        return state.pointers[str(Pointer.JOURNAL_IN)].sequence

    def restored(self) -> int:
        return self.of_secondary().pointers[str(Pointer.ALREADY_RESTORED)].sequence

    def wait_protected(self) -> None:
        def protected() -> bool:
            status = self.status()
            return status.state is PairState.PAIR and self.restored() == self.newest()

        try:
            wait_until(protected, SECONDS, f"{GROUP} to be protected", interval=POLL_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.status()}") from None

    def wait_failed(self, agent: Agent, fault: Fault, name: str) -> str | None:
        """Until an agent shows PSUE with the cause; else what it shows."""

        def shown() -> bool:
            status = agent.pair_status(GROUP)
            return status.state is PairState.PSUE and fault.named_in(status.cause) and name in (status.cause or "")

        try:
            wait_until(shown, SECONDS, "", interval=POLL_SECONDS)
        except AssertionError:
            return agent.pair_status(GROUP).line
        return None


@contextmanager
def running(processes: Processes, directory: Path) -> Iterator[Sites]:
    """A pair that is protected, between hosts that have hooks."""
    made = TwoSites.create(directory / "s")
    for site in made:
        path = site.configuration(Daemon.AGENT)
        path.write_text(f'{path.read_text()}\n[hooks]\nbefore = ["true"]\nafter = ["true"]\n')
    agents = {site.name: Agent(site.agent_url) for site in made}
    try:
        made.start()
        sites = Sites(processes, directory, made, agents)
        sites.primary.create_volume(VolumeCreate(name=VOLUME, size_bytes=VOLUME_BYTES))
        tokyo, osaka = (SiteVolumes(site=site.name, volumes=[VOLUME]) for site in made)
        sites.primary.create_pair(PairCreate(group=GROUP, primary=tokyo, secondary=osaka, journal_bytes=JOURNAL_BYTES))
        sites.write()
        sites.wait_protected()
        yield sites
    finally:
        for agent in agents.values():
            agent.close()
        made.stop()
