"""Two sites that both serve one pair behind a cut link: found on contact from either side, and nothing is merged."""

from __future__ import annotations

import threading
import time

import nbd
import pytest

from controller.api.models import Role
from hostagent.api.models import PairResync, PairState, PairStatus, Verdict
from hostagent.cli.demo.sites import Site
from tests.support.nbdkit import connected
from tests.support.proxy import Faults, Proxy
from tests.support.replication import LinkedSites
from tests.support.waiting import wait_until

MIB = 1 << 20
GROUP, VOLUME = "db", "data"
EVENT = "pair.two_primaries"

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


class Host:
    """Writes ever higher numbers to block after block of a volume until it is refused."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._pause = threading.Event()
        self.acknowledged = 0
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def _write(self) -> None:
        try:
            with connected(self._uri) as handle:
                while True:
                    number = self.acknowledged + 1
                    handle.pwrite(number.to_bytes(8, "big") * 512, number % 1024 * 4096)
                    self.acknowledged = number
                    self._pause.wait(0.002)
        except nbd.Error:
            pass

    def wait_more(self, count: int) -> None:
        goal = self.acknowledged + count
        wait_until(lambda: self.acknowledged >= goal, 30, f"{count} more writes")

    def wait_refused(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive(), "the old primary still takes writes"


def uri_of(linked: LinkedSites, site: Site) -> str:
    uri = linked.agent(site).volume(VOLUME).uri
    assert uri is not None
    return uri


def diverge_and_meet(linked: LinkedSites, old: Site, new: Site, first_word: Proxy) -> int:
    """Cut, take over at `new` while a host writes at `old`, let `first_word` pass; writes that stay behind."""
    host = Host(uri_of(linked, old))
    host.wait_more(50)
    linked.set_links(Faults(stalled=True))
    host.wait_more(50)
    report = linked.agent(new).take_over(GROUP, force=True)
    assert report.kind == "forced"
    with connected(uri_of(linked, new)) as handle:
        handle.pwrite(b"new!" * 1024, 8 * MIB)
        handle.flush()
    host.wait_more(50)
    healed_ns = time.time_ns()
    first_word.heal()
    for site in (old, new):
        at_ns = event_at(linked, site, healed_ns)
        print(f"two primaries seen at {site.name} {(at_ns - healed_ns) / 1e9:.1f} s after the link was back")
    linked.set_links(Faults())
    wait_until(lambda: linked.agent(old).volume(VOLUME).role is Role.FENCED, 60, "the old primary to be fenced")
    host.wait_refused()
    for site in (old, new):
        status = wait_diverged(linked, site)
        assert f"{old.name} is fenced and keeps" in status.line
        assert f"never reached {new.name}" in (status.cause or "")
        assert status.next_command == f"pairvol pair resync {GROUP} --swap --force"
    with connected(uri_of(linked, new)) as handle:
        assert handle.pread(4096, 8 * MIB) == b"new!" * 1024, "what the new primary took is there"
    return host.acknowledged - report.restored_sequence


def event_at(linked: LinkedSites, site: Site, after_ns: int) -> int:
    """When that site's agent told of two primaries, since then."""

    def told() -> int | None:
        found = (event.time_ns for event in linked.agent(site).events() if event.name == EVENT)
        return next((at_ns for at_ns in found if at_ns > after_ns), None)

    at_ns = wait_until(told, 60, f"{site.name} to see two primaries")
    assert at_ns is not None
    return at_ns


def wait_diverged(linked: LinkedSites, site: Site) -> PairStatus:
    def diverged() -> PairStatus | None:
        status = linked.agent(site).pair_status(GROUP)
        return status if status.verdict is Verdict.CRIT and "is fenced and keeps" in status.line else None

    status = wait_until(diverged, 60, f"{site.name} to say what stays behind")
    assert status is not None
    return status


def rejoin(linked: LinkedSites, new: Site) -> None:
    linked.agent(new).resync_pair(GROUP, PairResync(swap=True, force=True))
    linked.join_data_link(GROUP, new)

    def protected() -> bool:
        status = linked.agent(new).pair_status(GROUP)
        return status.state is PairState.PAIR and status.verdict is Verdict.OK

    wait_until(protected, 120, "the pair to be protected the other way round")


def test_found_from_either_side_and_nothing_merged(linked: LinkedSites) -> None:
    linked.pair(GROUP, [VOLUME], 16 * MIB, 64 * MIB)
    tokyo, osaka = linked.first, linked.second
    from_tokyo, _ = linked.control_links  # the way on which tokyo speaks first; osaka finds its own still cut
    assert diverge_and_meet(linked, tokyo, osaka, from_tokyo) >= 100, "the old primary speaks first"
    rejoin(linked, osaka)
    assert linked.group(tokyo, GROUP).role is Role.SECONDARY
    assert diverge_and_meet(linked, osaka, tokyo, from_tokyo) >= 100, "the new one does"
