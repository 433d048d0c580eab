"""Takeover between two real sites, with the primary alive, half alive, behind, and dead."""

from __future__ import annotations

import threading

import nbd
import pytest

from controller.api.client import ControllerClient
from controller.api.lifecycle import ServeOrder
from controller.api.models import Role, TakeoverRequest
from controller.errors import ConflictError, PeerError, StorageError
from hostagent.api.models import PairState, Verdict
from hostagent.cli.demo.sites import Daemon
from tests.integration.hostagent.conftest import BLOCK, Case
from tests.support.nbdkit import connected
from tests.support.proxy import Faults
from tests.support.waiting import wait_until

pytestmark = pytest.mark.e2e


class Counter:
    """A host that writes and flushes ever higher numbers to block 0 until it is refused."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self.acknowledged = 0
        self.refused: str | None = None
        self._thread = threading.Thread(target=self._count, daemon=True)
        self._thread.start()

    def _count(self) -> None:
        try:
            with connected(self._uri) as handle:
                while True:
                    number = self.acknowledged + 1
                    handle.pwrite(number.to_bytes(4, "big") * 1024, 0)
                    handle.flush()
                    self.acknowledged = number
        except nbd.Error as error:
            self.refused = error.errno

    def join(self) -> None:
        self._thread.join(30)
        assert not self._thread.is_alive()


class Insistent:
    """A host that connects to a volume again and again, and writes and flushes what it can."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._ended = threading.Event()
        self.acknowledged = self.refused = 0
        self._thread = threading.Thread(target=self._insist, daemon=True)
        self._thread.start()

    def _insist(self) -> None:
        while not self._ended.wait(0.01):
            try:
                with connected(self._uri) as handle:
                    while not self._ended.is_set():
                        handle.pwrite(b"old!" * (BLOCK // 4), 0)
                        handle.flush()
                        self.acknowledged += 1
            except (nbd.Error, AssertionError):
                self.refused += 1

    def end(self) -> None:
        self._ended.set()
        self._thread.join(30)
        assert not self._thread.is_alive()


def uri_of(case: Case) -> str:
    uri = case.tokyo.volume(case.name).uri
    assert uri is not None
    return uri


def test_planned_under_load_loses_nothing_and_the_old_primary_refuses_writes(case: Case) -> None:
    case.pair()
    counter = Counter(uri_of(case))
    wait_until(lambda: counter.acknowledged > 100, 20)
    report = case.tokyo.take_over(case.name)  # given to the primary's agent
    counter.join()
    assert (report.kind, report.generation) == ("planned", 2)
    assert (report.missing_journals, report.missing_bytes) == (0, 0)
    assert counter.refused in ("EPERM", "EIO", "ESHUTDOWN")
    assert case.number_at(case.linked.second) in (counter.acknowledged, counter.acknowledged + 1)

    assert report.reversed
    assert case.osaka.volume(case.name).role is Role.PRIMARY
    assert case.tokyo.volume(case.name).role is Role.SECONDARY
    case.write(77, agent=case.osaka)
    for agent in (case.tokyo, case.osaka):
        assert case.status(agent).generation == 2
        assert {pair.primary.site for pair in agent.pairs() if pair.group == case.name} == {"osaka"}
    for agent in (case.tokyo, case.osaka):  # given again it is done, and turns nothing back
        again = agent.take_over(case.name, to="osaka")
        assert (again.already, again.kind, again.generation) == (True, "none", 2)
        for to in (None, "tokyo"):  # as computed by a command line whose first command was cut short
            with pytest.raises(ConflictError, match=r"osaka took over \d+ s ago") as caught:
                agent.take_over(case.name, to=to, named=False)
            assert f'To go back say "pairvol pair takeover {case.name} --to tokyo"' in caught.value.hint
        assert agent.take_over(case.name, to="osaka", named=False).already
    with pytest.raises(ConflictError, match="exists already"):
        case.tokyo.create_pair(case.order())


def test_behind_is_refused_and_changes_nothing_and_force_counts_what_stays(case: Case) -> None:
    case.pair()
    case.write(1, count=4)
    case.wait_restored(1, block=3)
    for proxy in case.linked.data_links:
        proxy.set(Faults(cut=True))
    case.write(2, count=3)
    with pytest.raises(ConflictError) as caught:
        case.osaka.take_over(case.name)
    assert caught.value.message.startswith(f"cannot take over {case.name}: tokyo holds journals 6..8 not yet at osaka")
    assert "add --force to drop 3 journals (12 KiB)" in caught.value.hint
    assert case.tokyo.volume(case.name).role is Role.PRIMARY
    case.write(3)  # the primary serves as before

    report = case.osaka.take_over(case.name, force=True)
    assert (report.kind, report.missing_journals, report.missing_bytes) == ("forced", 4, 16 << 10)
    assert report.restored_sequence == 5
    assert case.number_at(case.linked.second) == 1
    status = case.wait_state(PairState.SSWS)
    assert "tokyo is fenced and keeps 4 journals (16 KiB) that never reached osaka" in status.line
    [taken] = case.tokyo.pair_history(case.name).takeovers
    assert (taken.site, taken.kind, taken.missing_journals, taken.missing_bytes) == ("osaka", "forced", 4, 16 << 10)
    assert taken.lag_seconds is not None
    assert taken.lag_seconds > 0


def test_a_primary_left_refusing_writes_says_so_and_serves_again_by_command(case: Case) -> None:
    """As a planned takeover leaves it whose coordinator died in the middle."""
    case.pair()
    case.write(1)
    with ControllerClient(case.linked.first.controller_address) as controller:
        controller.serve(case.name, ServeOrder(generation=1, on=False, successor=2))
    with pytest.raises((nbd.Error, AssertionError)):
        case.write(2)
    status = case.wait_state(PairState.PSUE)
    assert "refuses writes for a planned takeover that was not ended" in status.line
    assert status.next_command is not None
    assert f"pairvol journal start {case.name}" in status.next_command
    case.osaka.start_journal(case.name)
    case.write(3)
    case.wait_state(PairState.PAIR)
    case.wait_restored(3)


def test_a_planned_takeover_that_the_other_sites_disk_refuses_lets_the_primary_serve_again(case: Case) -> None:
    case.pair()
    case.write(1)
    controller = case.linked.second.daemon_process(Daemon.CONTROLLER)
    assert controller is not None
    obstacle = case.linked.second.state_directory(Daemon.CONTROLLER) / f".state.json.{controller.pid}.new"
    obstacle.mkdir()  # where the state is written before it takes the old one's place
    try:
        with pytest.raises(StorageError, match=r"state\.json"):
            case.osaka.take_over(case.name)
    finally:
        obstacle.rmdir()
    case.write(2)
    case.wait_state(PairState.PAIR)
    case.wait_restored(2)
    assert case.osaka.take_over(case.name).kind == "planned"


def test_the_initial_copy_must_be_done(case: Case) -> None:
    case.make_volume()
    case.tokyo.create_pair(case.order())  # no proxies at the data link yet: nothing can be copied
    case.wait_state(PairState.PSUE)
    with pytest.raises(ConflictError, match="the initial copy is not done"):
        case.osaka.take_over(case.name)
    with pytest.raises(ConflictError, match="the initial copy is not done"):
        case.osaka.take_over(case.name, force=True)
    assert case.tokyo.volume(case.name).role is Role.PRIMARY


def test_with_the_primary_site_dead_and_its_return(case: Case) -> None:
    case.pair()
    case.write(5)
    case.wait_restored(5)
    case.linked.first.kill_site()
    lost = case.wait_state(PairState.PSUE, case.osaka, timeout=6)
    assert "tokyo unknown since" in lost.line
    assert lost.next_command == f"pairvol pair takeover {case.name}"
    with pytest.raises(PeerError, match="it is the primary, and does not answer") as silent:
        case.osaka.take_over(case.name, to="tokyo")
    assert f"pairvol pair takeover {case.name} --to osaka" in silent.value.hint
    report = case.osaka.take_over(case.name)
    again = case.osaka.take_over(case.name)
    for told in (report, again):  # whatever was last heard of the primary: it wrote on since
        assert (told.kind, told.generation, told.missing_journals, told.lost_nothing) == ("forced", 2, None, False)
    case.write(6, agent=case.osaka)
    dead = case.status(case.osaka)
    assert (dead.verdict, dead.state) == (Verdict.WARN, PairState.SSWS)
    assert "tokyo unknown since" in dead.line
    with pytest.raises(ConflictError, match="was taken over by osaka") as over:  # the dead site need not be asked
        case.osaka.create_pair(case.order())
    assert f"pairvol pair delete {case.name}" in over.value.hint
    past = case.osaka.pair_history(case.name)
    assert [(each.lag_seconds, each.missing_journals) for each in past.takeovers] == [(None, None)]
    assert past.takeovers[0].lag_seconds_max is not None  # but it was not more than that
    assert past.silent == ["tokyo"]

    case.linked.first.start()
    case.linked.first.wait_ready()
    wait_until(lambda: case.tokyo.volume(case.name).role is Role.FENCED, 15, "the old primary to be fenced")
    status = case.wait_state(PairState.SSWS)
    assert status.generation == 2
    assert "group.fenced" in {event.name for event in case.tokyo.events()}
    with pytest.raises((nbd.Error, AssertionError)):
        case.write(99)
    assert case.number_at(case.linked.second) == 6


def test_cut_between_the_takeover_and_the_word_of_it_the_old_primary_takes_no_write(case: Case) -> None:
    """The coordinator dies, and the link with it, when its site has just begun to serve."""
    case.pair()
    case.write(5)
    case.wait_restored(5)
    with ControllerClient(case.linked.first.controller_address) as controller:
        controller.serve(case.name, ServeOrder(generation=1, on=False, successor=2))
    case.linked.second.kill(Daemon.AGENT)
    case.linked.set_links(Faults(stalled=True))
    with ControllerClient(case.linked.second.controller_address) as controller:
        controller.take_over(case.name, TakeoverRequest(generation=2))
    host = Insistent(uri_of(case))
    try:
        wait_until(lambda: host.refused > 10, what="the host to have tried")
        with pytest.raises(PeerError, match="may have taken over as generation 2") as silent:
            case.tokyo.start_journal(case.name)
        assert "--force" in silent.value.hint
        case.linked.first.kill_site()
        case.linked.first.start()
        case.linked.first.wait_ready()
        refused = host.refused
        wait_until(lambda: host.refused > refused + 100, what="the host to have tried again")
        with pytest.raises(PeerError, match="may have taken over as generation 2"):
            case.tokyo.start_journal(case.name)
        case.linked.set_links(Faults())
        case.linked.second.start(Daemon.AGENT)
        case.linked.second.wait_ready()
        wait_until(lambda: case.tokyo.volume(case.name).role is Role.FENCED, 30, "the old primary to be fenced")
        with pytest.raises(ConflictError):
            case.tokyo.start_journal(case.name)
    finally:
        host.end()
    assert host.acknowledged == 0


def test_the_operator_may_go_on_without_the_site_that_was_to_take_over(case: Case) -> None:
    case.pair()
    with ControllerClient(case.linked.first.controller_address) as controller:
        controller.serve(case.name, ServeOrder(generation=1, on=False, successor=2))
    case.linked.second.kill_site()
    with pytest.raises(PeerError, match="may have taken over as generation 2"):
        case.tokyo.start_journal(case.name)
    case.tokyo.start_journal(case.name, force=True)
    case.write(7)


@pytest.mark.parametrize("cut", [False, True], ids=["linked", "cut"])
def test_a_primary_that_returns_at_once_takes_no_write_beside_the_new_one(case: Case, cut: bool) -> None:
    """Everything of it dies and starts again within seconds; a host tries all the while."""
    case.pair()
    case.write(5)
    case.wait_restored(5)
    configuration = case.linked.first.configuration(Daemon.CONTROLLER)
    usual = configuration.read_text()
    host = Insistent(uri_of(case))
    try:
        wait_until(lambda: host.acknowledged > 10, what="the host to write")
        case.linked.first.kill_site()
        if cut:
            case.linked.set_links(Faults(stalled=True))
            configuration.write_text(f"{usual}\n[serve]\nalone = false\n")
        case.osaka.take_over(case.name, force=True)
        case.write(6, agent=case.osaka)
        before = host.acknowledged
        case.linked.first.start()
        case.linked.first.wait_ready()
        refused = host.refused
        if cut:
            wait_until(lambda: "group.awaits_serve" in names(case), what="the old primary to say that it waits")
            status = case.status(case.tokyo)
            assert (status.verdict, status.state) == (Verdict.CRIT, PairState.PSUE)
            wait_until(lambda: host.refused > refused + 100, what="the host to have tried")
            case.linked.set_links(Faults())
        wait_until(lambda: case.tokyo.volume(case.name).role is Role.FENCED, 30, "the old primary to be fenced")
        wait_until(lambda: host.refused > refused + 100, what="the host to have tried")
        assert host.acknowledged == before, "the old primary took writes beside the new one"
        assert not any(event.name == "pair.two_primaries" for event in case.osaka.events() if event.group == case.name)
    finally:
        host.end()
        configuration.write_text(usual)
    assert case.number_at(case.linked.second) == 6
    if cut:
        case.linked.first.kill(Daemon.CONTROLLER)  # the next one waits as usual


def names(case: Case) -> set[str]:
    return {event.name for event in case.tokyo.events() if event.group == case.name}


def test_with_the_primary_half_alive_force_is_needed(case: Case) -> None:
    case.pair()
    case.write(5)
    case.wait_restored(5)
    case.linked.first.kill(Daemon.CONTROLLER)  # its servers live on: hosts go on writing
    with pytest.raises(ConflictError, match="hosts may be writing there") as caught:
        case.osaka.take_over(case.name)
    assert "--force" in caught.value.hint
    assert case.osaka.take_over(case.name, force=True).kind == "forced"
    case.linked.first.start(Daemon.CONTROLLER)
    case.linked.first.wait_ready()
    wait_until(lambda: case.tokyo.volume(case.name).role is Role.FENCED, 20, "the old primary to be fenced")


def test_a_takeover_goes_on_after_the_agent_died_in_the_middle(case: Case) -> None:
    """The controller has taken over, and its agent was killed before it kept or told that."""
    case.pair()
    case.linked.second.kill(Daemon.AGENT)
    with ControllerClient(case.linked.second.controller_address) as controller:
        controller.take_over(case.name, TakeoverRequest(generation=2))
    case.linked.second.start(Daemon.AGENT)
    case.linked.second.wait_ready()
    wait_until(lambda: case.tokyo.volume(case.name).role is Role.FENCED, 15, "the old primary to be fenced")
    assert all(pair.taken_over for pair in case.osaka.pairs() if pair.group == case.name)
    assert case.wait_state(PairState.SSWS).generation == 2
    assert case.osaka.take_over(case.name).generation == 2
