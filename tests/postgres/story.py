"""The database goes from site to site: planned and forced takeovers, each judged as soon as it runs again."""

from __future__ import annotations

import filecmp
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from controller.errors import ConflictError, PeerError
from hostagent.api.models import (
    PairCreate,
    PairResync,
    PairState,
    PairStatus,
    SiteVolumes,
    TakeoverReport,
    Verdict,
)
from hostagent.cli.demo import devices
from hostagent.cli.demo.sites import Daemon, Site, TwoSites
from hostagent.client import Agent
from tests.crash.results import Row
from tests.postgres.clients import TABLE, Ledger, await_transactions, balances, rows, working
from tests.postgres.service import MIB, VOLUMES, Service
from tests.support.waiting import wait_until

GROUP = "db"
JOURNAL_BYTES = 64 * MIB
BEHIND = 200  # transactions that the other site is sure not to have


class Kind(StrEnum):
    """How the service leaves a site."""

    IN_ORDER = "planned"  # database stopped, volumes unmounted and detached, then taken over
    UNDER_LOAD = "planned under load"  # taken over while the database writes: its next write is refused
    FORCED = "forced"  # everything of the site killed, the database with it
    FORCED_BEHIND = "forced from behind"  # and the other site had been standing still for a while

    @property
    def planned(self) -> bool:
        return self in (Kind.IN_ORDER, Kind.UNDER_LOAD)


class Story:
    """Two sites, a pair of two volumes, and a database that clients use."""

    def __init__(self, directory: Path, row: Row, tell: Callable[[str], None]) -> None:
        directory.chmod(0o711)  # the server is another user's
        self.row, self.tell = row, tell
        self.sites = TwoSites.create(directory)
        self.active, self.standby = self.sites.primary, self.sites.secondary
        self.service = Service(directory)
        self.ledger = Ledger()
        self._agents: dict[str, Agent] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with self._stack:
            self._stack.callback(self.sites.stop)
            for site in self.sites:
                self._agents[site.name] = self._stack.enter_context(Agent(site.agent_url))
            self.sites.start()
            self._stack.callback(self._end_service)
            self._begin()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def agent(self, site: Site) -> Agent:
        return self._agents[site.name]

    def _begin(self) -> None:
        """Clients are at work while the first copy runs. Volumes that come under one server are detached for it."""
        agent, cluster = self.agent(self.active), self.service.cluster
        self.service.create(agent)
        cluster.run_sql(TABLE)
        cluster.program("pgbench", *cluster.address(), "-i", "-q", "-s", "1", "postgres")
        self.service.down(agent)
        agent.create_pair(
            PairCreate(
                group=GROUP,
                primary=SiteVolumes(site=self.active.name, volumes=list(VOLUMES)),
                secondary=SiteVolumes(site=self.standby.name, volumes=list(VOLUMES)),
                journal_bytes=JOURNAL_BYTES,
            )
        )
        self.service.up(agent)
        with working(cluster, self.ledger):
            self.wait_protected()

    def _end_service(self) -> None:
        self.service.end()
        for site in self.sites:
            site.kill_site()
            devices.release(site.directory)

    # -- takeovers ----------------------------------------------------------------------

    def take_over(self, kind: Kind, transactions: int) -> None:
        """One takeover, judged; afterwards the pair is whole again, in the other direction."""
        self.row.attempted += 1
        leave = {
            Kind.IN_ORDER: self._in_order,
            Kind.UNDER_LOAD: self._under_load,
            Kind.FORCED: self._forced,
            Kind.FORCED_BEHIND: self._forced_behind,
        }
        self.arrive(leave[kind](transactions), kind)
        if not kind.planned:
            with working(self.service.cluster, self.ledger):
                self.take_back()

    def _in_order(self, transactions: int) -> TakeoverReport:
        with working(self.service.cluster, self.ledger):
            await_transactions(self.ledger, transactions)
        self.service.down(self.agent(self.active))
        return self.agent(self.standby).take_over(GROUP)

    def _under_load(self, transactions: int) -> TakeoverReport:
        with working(self.service.cluster, self.ledger):
            await_transactions(self.ledger, transactions)
            report = self.agent(self.standby).take_over(GROUP)
        self.service.pull_away(self.agent(self.active))
        return report

    def _forced(self, transactions: int) -> TakeoverReport:
        with self.disaster():
            await_transactions(self.ledger, transactions)
        return self.agent(self.standby).take_over(GROUP)

    def _forced_behind(self, transactions: int) -> TakeoverReport:
        far = self.standby.daemon_process(Daemon.CONTROLLER)
        assert far is not None
        try:
            with self.disaster():
                await_transactions(self.ledger, transactions)
                far.suspend()
                await_transactions(self.ledger, BEHIND)
        finally:
            far.resume()
        return self.agent(self.standby).take_over(GROUP)

    @contextmanager
    def disaster(self) -> Iterator[None]:
        """Clients at work, and at the end of the block the site and its host die under them."""
        with working(self.service.cluster, self.ledger):
            yield
            self.service.lose(self.active)

    def arrive(self, report: TakeoverReport, kind: Kind) -> None:
        """The database starts at the other site, and everything in it is looked at."""
        self.active, self.standby = self.standby, self.active
        began, before = time.monotonic(), len(self.ledger.acknowledged)
        faults = [] if report.kind == ("planned" if kind.planned else "forced") else [f"it was {report.kind}"]
        if kind.planned and (report.missing_journals or report.missing_bytes or not report.reversed):
            faults.append(f"a planned takeover reports {report}")
        mounted = {str(point) for point in self.service.points.values()} if kind is Kind.UNDER_LOAD else set()
        if set(report.mounted_there) != mounted:
            faults.append(f"the report says that {report.mounted_there} is still mounted")
        self.service.up(self.agent(self.active))
        seconds = time.monotonic() - began
        faults += self.judge(None if kind.planned else report.restored_time_ns)
        self.row.reached += 1
        number, beyond = self.row.reached, before - len(self.ledger.acknowledged)
        for fault in faults:
            self.row.lose(f"takeover {number} ({kind}): {fault}")
        self.tell(
            f"{number:3} {kind:18} to {self.active.name}: taken over in {report.seconds:.1f} s, database up in "
            f"{seconds:.1f} s, {len(self.ledger.acknowledged)} acknowledged transactions there, "
            f"{beyond} beyond the horizon gone{''.join(f'; FAULT: {fault}' for fault in faults)}"
        )
        if kind.planned:
            self.wait_protected()

    def judge(self, horizon_ns: int | None) -> list[str]:
        """What is wrong with the running database."""
        cluster = self.service.cluster
        try:
            cluster.check()
        except AssertionError as error:
            return [f"pg_amcheck: {error}"]
        return [*self.ledger.after_takeover(rows(cluster), horizon_ns), *balances(cluster)]

    def take_back(self) -> None:
        """The site that died comes back and follows; what it never sent is given up by order."""
        self.standby.start()
        self.standby.wait_ready()

        def swapped() -> bool:
            agent = self.agent(self.active)
            try:
                agent.resync_pair(GROUP, PairResync(swap=True))
            except PeerError:
                return False
            except ConflictError as error:
                if "never reached" not in error.message:
                    return False  # not fenced yet
                agent.resync_pair(GROUP, PairResync(swap=True, force=True))
            return True

        wait_until(swapped, 60, f"{self.standby.name} to follow", interval=0.2)
        self.wait_protected()

    def end_equal(self) -> None:
        """Service and sites stopped in order: both sites hold the same bytes."""
        self.service.down(self.agent(self.active))
        wait_until(self._nothing_on_its_way, 60, "both sites to be in step", interval=0.1)
        stores = [[Path(self.agent(site).volume(name).backing) for site in self.sites] for name in VOLUMES]
        self.sites.stop()
        for one, other in stores:
            if not filecmp.cmp(one, other, shallow=False):
                self.row.lose(f"{one} and {other} differ at the end")

    def _nothing_on_its_way(self) -> bool:
        sides = self.agent(self.active).journal(GROUP)
        if sides.primary is None or sides.secondary is None:
            return False
        newest = sides.primary.pointers["journal_in"].sequence
        return newest == sides.primary.pointers["checkpoint"].sequence and newest == (
            sides.secondary.pointers["already_restored"].sequence
        )

    # -- asking -------------------------------------------------------------------------

    def wait_protected(self) -> None:
        def protected() -> PairStatus | None:
            try:
                status = self.agent(self.active).pair_status(GROUP)
            except PeerError:
                return None
            last.append(status.line)
            return status if status.state is PairState.PAIR and status.verdict is Verdict.OK else None

        last = ["no answer"]
        try:
            wait_until(protected, 90, f"{GROUP} to be protected", interval=0.2)
        except AssertionError as error:
            raise AssertionError(f"{error}; status: {last[-1]}") from None
