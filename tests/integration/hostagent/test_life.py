"""The life of a pair between two real sites: journal full, split, takeover and return, there and back."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import nbd
import pytest

from controller.api.client import ControllerClient
from controller.api.lifecycle import Orphan, ServeOrder
from controller.api.models import Role, TakeoverRequest, VolumeCreate
from controller.errors import ConflictError, NotFoundError
from controller.journal.dump import dump
from hostagent.api.models import (
    AttachOrder,
    PairCreate,
    PairResync,
    PairSplit,
    PairState,
    PairStatus,
    SiteVolumes,
    Verdict,
)
from hostagent.cli.demo.sites import Daemon, Site, TwoSites
from hostagent.client import Agent
from tests.support.checkpoints import take_checkpoints
from tests.support.lifecycle import scribble
from tests.support.nbdkit import connected
from tests.support.waiting import wait_until

pytestmark = pytest.mark.e2e

VOLUME_BYTES = 24 << 20
JOURNAL_BYTES = 4 << 20
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def sites(session_directory: Path) -> Iterator[TwoSites]:
    made = TwoSites.create(Path(tempfile.mkdtemp(prefix="l", dir=session_directory)))
    for site in made:
        text = site.configuration(Daemon.CONTROLLER).read_text()
        site.configuration(Daemon.CONTROLLER).write_text(f"{text}\n[journal]\nfull_wait_seconds = 0.5\n")
    try:
        made.start()
        yield made
    finally:
        made.stop()


class Life:
    """A pair of one small volume, from tokyo to osaka at first."""

    def __init__(self, sites: TwoSites) -> None:
        self.name = f"life{next(_numbers)}"
        self.first, self.second = sites.primary, sites.secondary
        self.tokyo, self.osaka = Agent(self.first.agent_url), Agent(self.second.agent_url)
        self.seed = 0

    def pair(self) -> None:
        self.tokyo.create_volume(VolumeCreate(name=self.name, size_bytes=VOLUME_BYTES))
        order = PairCreate(
            group=self.name,
            primary=SiteVolumes(site="tokyo", volumes=[self.name]),
            secondary=SiteVolumes(site="osaka", volumes=[self.name]),
            journal_bytes=JOURNAL_BYTES,
            secondary_journal_bytes=2 * JOURNAL_BYTES,
        )
        self.tokyo.create_pair(order)
        self.wait(PairState.PAIR)

    def write(self, agent: Agent | None = None, writes: int = 40, start: int = 0) -> None:
        self.seed += 1
        scribble(self.uri(agent or self.tokyo), VOLUME_BYTES, self.seed, writes, start)

    def uri(self, agent: Agent) -> str:
        uri = agent.volume(self.name).uri
        assert uri is not None
        return uri

    def wait(
        self, state: PairState, agent: Agent | None = None, so: Callable[[PairStatus], bool] | None = None
    ) -> PairStatus:
        agent = agent or self.tokyo

        def reached() -> PairStatus | None:
            found = agent.pair_status(self.name)
            return found if found.state is state and (so is None or so(found)) else None

        try:
            found = wait_until(reached, 30, f"{self.name} to be {state}", interval=0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}; {agent.pair_status(self.name)}; {agent.journal(self.name)}") from None
        assert found is not None
        return found

    def in_step(self) -> None:
        """Wait until nothing is on its way, then compare the stores byte for byte."""

        def quiet() -> bool:
            sides = self.tokyo.journal(self.name)
            if sides.primary is None or sides.secondary is None or sides.primary.epoch is not None:
                return False
            newest = sides.primary.pointers["journal_in"].sequence
            if newest != sides.secondary.pointers["already_restored"].sequence:
                return False
            if newest != sides.primary.pointers["checkpoint"].sequence:
                for site in (self.first, self.second):
                    take_checkpoints(site)
                return False
            return True

        wait_until(quiet, 30, "both sides to be in step", interval=0.1)
        assert self.content(self.tokyo) == self.content(self.osaka)

    def content(self, agent: Agent) -> bytes:
        return Path(agent.volume(self.name).backing).read_bytes()

    def end(self) -> None:
        for site in (self.first, self.second):
            restart(site)
        for agent in (self.tokyo, self.osaka):
            with suppress(NotFoundError):
                agent.delete_pair(self.name, force=True)
            agent.close()


def restart(site: Site) -> None:
    for daemon in Daemon:
        if site.daemon_process(daemon) is None:
            site.start(daemon)
    site.wait_ready()


@pytest.fixture
def life(sites: TwoSites) -> Iterator[Life]:
    made = Life(sites)
    made.pair()
    yield made
    made.end()


def test_a_full_journal_heals_by_itself(life: Life) -> None:
    life.write()
    life.second.kill(Daemon.AGENT)  # nobody confirms any more
    with connected(life.uri(life.tokyo)) as handle:
        for index in range(24):
            handle.pwrite(bytes([index + 1]) * (1 << 20), index << 20)
            if index % 4 == 3:
                handle.flush()
        handle.flush()
    full = life.wait(PairState.PFUS)
    assert full.verdict is Verdict.CRIT
    assert "the journal of tokyo was full, changes tracked (" in full.line
    life.second.start(Daemon.AGENT)
    life.second.wait_ready()
    life.wait(PairState.PAIR)
    life.in_step()
    events = {event.facts.get("to") for event in life.tokyo.events() if event.name == "pair.state"}
    assert {"PFUS", "COPY", "PAIR"} <= events


def test_split_and_resync_from_either_host(life: Life) -> None:
    life.write()
    split = life.osaka.split_pair(life.name)
    assert (split.verdict, split.state) == (Verdict.WARN, PairState.PSUS)
    assert "; osaka is readable; lag " in split.line
    assert split.next_command == f"pairvol pair resync {life.name}"
    before = life.content(life.osaka)
    life.write()
    with connected(life.uri(life.osaka)) as handle:
        assert bytes(handle.pread(VOLUME_BYTES, 0)) == before
        with pytest.raises(nbd.Error):
            handle.pwrite(b"x" * 512, 0)
    with pytest.raises(ConflictError, match="changed regions not yet at osaka"):
        life.osaka.take_over(life.name)
    assert "; osaka is writable; lag " in life.tokyo.split_pair(life.name, PairSplit(writable=True)).line
    life.write(life.osaka, start=20 << 20)
    words = f"pairvol pair resync {life.name} --force"
    for agent in (life.tokyo, life.osaka):
        with pytest.raises(ConflictError, match=r"hosts changed \d+ MiB at osaka while it was split") as caught:
            agent.resync_pair(life.name)
        assert words in caught.value.hint
    status = life.wait(PairState.PSUS, so=lambda status: status.next_command == words)
    assert "; osaka is writable, " in status.line
    life.osaka.resync_pair(life.name, PairResync(force=True))
    life.wait(PairState.PAIR)
    life.in_step()
    assert life.tokyo.resync_pair(life.name).state in (PairState.PAIR, PairState.COPY)  # given again


def test_forced_takeover_return_of_the_old_primary_swap_and_back(life: Life) -> None:
    life.write()
    life.in_step()
    life.second.kill_site()
    life.write(writes=5)  # these never reach osaka
    life.first.kill_site()
    restart(life.second)
    report = life.osaka.take_over(life.name)
    assert (report.kind, report.missing_journals, report.reversed) == ("forced", None, False)
    life.write(life.osaka)

    restart(life.first)
    wait_until(lambda: life.tokyo.volume(life.name).role is Role.FENCED, 20, "tokyo to be fenced")
    lost = life.wait(PairState.SSWS, so=lambda status: "never reached" in status.line)
    assert "tokyo is fenced and keeps 5 journals" in lost.line
    assert lost.next_command == f"pairvol pair resync {life.name} --swap --force"
    with pytest.raises(ConflictError, match=r"tokyo holds 5 journals .* that never reached osaka") as caught:
        life.tokyo.resync_pair(life.name, PairResync(swap=True))
    assert "--force" in caught.value.hint
    with pytest.raises(ConflictError, match="cannot resync"):
        life.tokyo.resync_pair(life.name)

    life.tokyo.resync_pair(life.name, PairResync(swap=True, force=True))
    status = life.wait(PairState.PAIR)
    assert "osaka -> tokyo" in status.line
    life.write(life.osaka)
    life.in_step()
    assert life.wait(PairState.PAIR, life.osaka).sides[1].orphan_tails == 1
    life.osaka.resync_pair(life.name, PairResync(swap=True))  # given again
    tail = life.tokyo.journal_files(life.name).orphans[0]
    kept = list(dump(tail.path, tail.first_sequence, tail.last_sequence))
    assert len(kept) == tail.journals == 5
    assert {record["generation"] for record in kept} == {1}

    _refused_whole(life, tail)
    back = life.osaka.take_over(life.name, to="tokyo")
    assert (back.kind, back.missing_journals, back.reversed) == ("planned", 0, True)
    assert "tokyo -> osaka" in life.wait(PairState.PAIR).line
    life.write()
    life.in_step()
    assert life.osaka.take_over(life.name, to="tokyo").already  # given again
    _refused_whole(life, tail)
    ended = life.osaka.delete_pair(life.name, force=True)
    assert [(each.site, each.what, each.journals) for each in ended.dropped] == [("tokyo", "orphan", 5)]
    assert life.content(life.tokyo) == life.content(life.osaka)


def _refused_whole(life: Life, tail: Orphan) -> None:
    """While tokyo keeps a tail, as secondary or as primary, nothing of the pair ends."""
    for agent in (life.tokyo, life.osaka):
        with pytest.raises(ConflictError, match=r"keeps 5 journals \(.*\) at tokyo that no other site has"):
            agent.delete_pair(life.name)
    with pytest.raises(ConflictError, match=rf"cannot drop orphan tail {tail.name} .* its 5 journals \(") as caught:
        life.tokyo.drop_orphan(life.name, "latest")
    assert "--force" in caught.value.hint
    with pytest.raises(NotFoundError, match="no orphan tail"):
        life.osaka.drop_orphan(life.name, "latest", force=True)
    life.wait(PairState.PAIR)
    life.write(life.tokyo if life.tokyo.volume(life.name).role is Role.PRIMARY else life.osaka)
    life.in_step()


def test_a_tail_is_dropped_by_order_and_the_pair_ends_then(life: Life) -> None:
    life.write()
    life.in_step()
    life.second.kill_site()
    life.write(writes=3)
    life.first.kill_site()
    restart(life.second)
    life.osaka.take_over(life.name)
    restart(life.first)
    life.wait(PairState.SSWS, so=lambda status: "never reached" in status.line)
    life.osaka.resync_pair(life.name, PairResync(swap=True, force=True))
    life.wait(PairState.PAIR)
    assert life.tokyo.drop_orphan(life.name, "latest", force=True).journals == 3
    assert life.tokyo.journal_files(life.name).orphans == []
    assert life.osaka.delete_pair(life.name).dropped == []
    for agent in (life.tokyo, life.osaka):
        assert agent.volume(life.name).group is None


# the old primary is kept after a takeover


def mark(life: Life, agent: Agent, words: bytes) -> None:
    with connected(life.uri(agent)) as handle:
        handle.pwrite(words * 64, 0)
        handle.flush()


def lost_at_tokyo(life: Life) -> None:
    """tokyo wrote what never arrived and died; osaka took over and wrote on; tokyo is back, and fenced."""
    life.second.kill(Daemon.AGENT)
    life.second.kill(Daemon.CONTROLLER)
    life.write()
    mark(life, life.tokyo, b"tokyo's ")
    life.first.kill_site()
    restart(life.second)
    life.osaka.take_over(life.name)
    life.write(life.osaka, writes=5)
    mark(life, life.osaka, b"osaka's ")
    restart(life.first)
    life.wait(PairState.SSWS, so=lambda status: "is fenced" in status.line)


def test_the_operator_may_keep_the_old_primary(life: Life) -> None:
    life.write()
    life.in_step()
    lost_at_tokyo(life)
    attached = life.osaka.attach(AttachOrder(volume=life.name, uri_only=True))
    with pytest.raises(ConflictError, match=r"osaka changed .* in \d+ regions? after journal \d+ of ") as caught:
        life.osaka.resync_pair(life.name)
    assert attached.uri in caught.value.message
    assert f"pairvol pair resync {life.name} --force" in caught.value.hint
    assert life.osaka.volume(life.name).role is Role.TAKEN_OVER, "a refusal changes nothing"

    life.osaka.resync_pair(life.name, PairResync(force=True))
    for agent in (life.tokyo, life.osaka):
        status = life.wait(PairState.PAIR, agent)
        assert "tokyo -> osaka" in status.line
        assert status.generation == 3
    life.in_step()
    assert life.content(life.osaka).startswith(b"tokyo's ")
    life.write()
    life.in_step()
    [told] = [event for event in life.tokyo.events() if event.name == "pair.taken_back" and event.group == life.name]
    assert told.facts["generation"] == 3
    assert told.facts["attached"]
    life.osaka.detach(life.name)
    life.osaka.take_over(life.name)  # and there again, planned
    life.wait(PairState.PAIR, so=lambda status: "osaka -> tokyo" in status.line)


def test_a_planned_takeover_cut_short_may_be_taken_back(life: Life) -> None:
    """Its agent dies when osaka has just taken over; nothing was written there, so nothing needs force."""
    life.write()
    life.in_step()
    life.second.kill(Daemon.AGENT)
    for site, order in ((life.first, "serve"), (life.second, "take over")):
        with ControllerClient(site.controller_address) as controller:
            if order == "serve":
                controller.serve(life.name, ServeOrder(generation=1, on=False, successor=2))
            else:
                controller.take_over(life.name, TakeoverRequest(generation=2))
    restart(life.second)
    life.wait(PairState.SSWS, so=lambda status: "is fenced" in status.line)
    life.tokyo.resync_pair(life.name)
    life.wait(PairState.PAIR, so=lambda status: "tokyo -> osaka" in status.line)
    life.write()
    life.in_step()


def test_the_old_primary_that_is_kept_copies_everything_when_its_journal_does_not_tell(life: Life) -> None:
    life.write()
    life.in_step()
    life.tokyo.stop_journal(life.name)
    life.write()  # in no journal, and in no map
    life.osaka.take_over(life.name, force=True)
    life.wait(PairState.SSWS, so=lambda status: "is fenced" in status.line)
    life.tokyo.resync_pair(life.name, PairResync(force=True))
    life.wait(PairState.PAIR, so=lambda status: "tokyo -> osaka" in status.line)
    life.in_step()
