"""Pairs between two real sites: made, refused, asked, driven by hand, cut, and ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from controller.api.models import Role, ServerState, VolumeCreate
from controller.errors import CapacityError, ConflictError, NotFoundError, PairvolError, PeerError, UsageError
from hostagent.api.models import AttachOrder, PairPolicy, PairState, SideOrder, Trigger, Verdict
from hostagent.cli.demo.sites import Daemon
from hostagent.commands.create import _new_pair, _side_order
from hostagent.peers import AgentClient
from tests.integration.hostagent.conftest import VOLUME_BYTES, Case
from tests.support.proxy import Faults
from tests.support.waiting import wait_until

pytestmark = pytest.mark.e2e


def nothing_was_made(case: Case) -> None:
    for agent in (case.tokyo, case.osaka):
        assert case.name not in {pair.group for pair in agent.pairs()}
        assert all(volume.group != case.name for volume in agent.volumes())
    assert case.name not in {volume.name for volume in case.osaka.volumes()}


def test_a_pair_is_made_by_either_agent_and_both_say_the_same(case: Case) -> None:
    case.make_volume()
    status = case.osaka.create_pair(case.order())
    assert status.state in (PairState.COPY, PairState.PAIR), status.line
    case.linked.join_data_link(case.name)
    case.wait_state(PairState.PAIR)
    case.write(7)
    case.wait_restored(7)
    here, there = case.wait_state(PairState.PAIR), case.wait_state(PairState.PAIR, case.osaka)
    assert here.verdict is there.verdict is Verdict.OK
    assert here.line.startswith(f"{case.name} is protected: tokyo -> osaka, lag ")
    assert here.line.partition(", lag")[0] == there.line.partition(", lag")[0]
    assert [side.site for side in here.sides] == ["tokyo", "osaka"]
    assert case.osaka.volume(case.name).role is Role.SECONDARY

    again = case.tokyo.create_pair(case.order())  # the same command again changes nothing
    assert again.generation == 1
    assert {pair.uuid for agent in (case.tokyo, case.osaka) for pair in agent.pairs() if pair.group == case.name} == {
        pair.uuid for pair in case.tokyo.pairs() if pair.group == case.name
    }
    case.wait_state(PairState.PAIR)


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({"secondary": {"site": "kyoto", "volumes": ["x"]}}, UsageError, "site kyoto is not known"),
        ({"secondary": {"site": "tokyo", "volumes": ["x"]}}, UsageError, "both sides at tokyo"),
        ({"primary": {"site": "tokyo", "volumes": ["none"]}}, NotFoundError, "volume none does not exist at tokyo"),
        ({"primary": {"site": "tokyo", "volumes": ["a", "b"]}}, UsageError, "2 primary and 1 secondary volumes"),
        ({"secondary_journal_volumes": ["none"]}, NotFoundError, "pool volume none does not exist at osaka"),
        ({"journal_bytes": 1024}, PairvolError, ""),
        ({"secondary_journal_bytes": 1024}, PairvolError, ""),
    ],
)
def test_what_is_refused_leaves_nothing_behind(
    case: Case, changes: dict[str, object], kind: type[PairvolError], said: str
) -> None:
    case.make_volume()
    with pytest.raises(kind) as caught:
        case.osaka.create_pair(case.order(**changes))
    assert said in caught.value.message
    nothing_was_made(case)


def test_volumes_that_are_taken_or_of_another_size_are_refused(case: Case) -> None:
    case.make_volume()
    case.osaka.create_volume(VolumeCreate(name=case.name, size_bytes=2 * VOLUME_BYTES))
    with pytest.raises(CapacityError, match="the primary's has"):
        case.tokyo.create_pair(case.order())
    case.osaka.delete_volume(case.name)
    case.tokyo.create_pair(case.order())
    with pytest.raises(ConflictError, match="is already in group"):
        case.tokyo.create_pair(case.order(group=f"{case.name}x"))
    with pytest.raises(ConflictError, match="exists already, with other volumes"):
        case.tokyo.create_pair(case.order(secondary={"site": "osaka", "volumes": ["another"]}))


def test_a_command_that_was_cut_short_goes_on_when_given_again(case: Case) -> None:
    """As if the coordinator had died when only the secondary side was there; then the other agent is asked."""
    case.make_volume()
    order = case.order()
    pair = _new_pair(order)
    half: SideOrder = _side_order(order, pair, order.secondary, {0: VOLUME_BYTES})
    osaka = AgentClient("osaka", case.linked.second.agent_url)
    osaka.make_side(half)
    osaka.close()
    status = wait_until(lambda: case.status(case.osaka), 5)
    assert (status.verdict, status.state) == (Verdict.CRIT, PairState.PSUE)
    assert "tokyo knows no pair" in status.line

    case.tokyo.create_pair(order)
    case.linked.join_data_link(case.name)
    case.wait_state(PairState.PAIR)
    assert [known.uuid for known in case.tokyo.pairs() if known.group == case.name] == [pair.uuid]


def test_a_secondary_is_not_attached(case: Case) -> None:
    case.pair()
    with pytest.raises(ConflictError, match="replication writes to it"):
        case.osaka.attach(AttachOrder(volume=case.name, uri_only=True))


def test_journals_by_hand(case: Case) -> None:
    case.pair(PairPolicy(trigger=Trigger.COMMAND, restore="later", purge="command"))
    case.write(1, count=4)  # behind the marker of the initial copy
    primary = case.tokyo.journal(case.name).primary
    assert primary is not None
    newest = primary.pointers["durable"].sequence
    assert newest == 5

    # Nothing moves by itself; three journals are copied by command, given to the primary's agent.
    case.tokyo.copy_journal(case.name, 3)
    assert _wait(case, "already_read", 3) == 3
    assert _wait(case, "already_restored", 0) == 0
    case.osaka.restore_journal(case.name, 2)
    assert _wait(case, "already_restored", 2) == 2
    assert case.number_at(case.linked.second, 0) == 1
    assert case.number_at(case.linked.second, 1) == 0

    with pytest.raises(ConflictError, match="osaka has them up to 3"):
        case.osaka.purge_journal(case.name, 4)
    assert case.osaka.purge_journal(case.name, 2).pointers["confirmed"].sequence == 2
    assert case.osaka.purge_journal(case.name).pointers["confirmed"].sequence == 3

    case.osaka.copy_journal(case.name)
    assert _wait(case, "already_read", 5) == 5
    case.tokyo.restore_journal(case.name)
    assert _wait(case, "already_restored", 5) == 5


def _secondary_at(case: Case, pointer: str, sequence: int) -> object:
    state = case.osaka.journal(case.name).secondary
    return state if state is not None and state.pointers[pointer].sequence >= sequence else None


def _wait(case: Case, pointer: str, sequence: int) -> int:
    wait_until(lambda: _secondary_at(case, pointer, sequence), 20, f"{pointer} at {sequence}")
    state = case.osaka.journal(case.name).secondary
    assert state is not None
    return state.pointers[pointer].sequence


def test_a_gap_in_acquisition_is_healed_by_a_new_copy(case: Case) -> None:
    case.pair()
    case.write(1)
    case.wait_restored(1)
    case.osaka.stop_journal(case.name)
    for agent in (case.osaka, case.tokyo):  # at once, and at both: no status is older than the command
        stopped = case.status(agent)
        assert stopped.state is PairState.PSUS
        assert stopped.next_command == f"pairvol journal start {case.name}"
    with pytest.raises(ConflictError, match="acquisition at tokyo is stopped") as caught:
        case.tokyo.split_pair(case.name)
    assert f"pairvol journal start {case.name}" in caught.value.hint
    case.write(2)  # in no journal
    assert "changes are not tracked; lag unknown, " in case.status().line
    assert case.status().lag_seconds is None
    case.osaka.start_journal(case.name)
    case.write(3, count=1)
    wait_until(lambda: case.status().state is PairState.PAIR, 30, "the pair to be protected again")
    case.wait_restored(3)
    case.tokyo.delete_pair(case.name)
    here, there = (Path(agent.volume(case.name).backing) for agent in (case.tokyo, case.osaka))
    assert here.read_bytes() == there.read_bytes()


def test_a_cut_link_shows_within_five_seconds_and_heals_by_itself(case: Case) -> None:
    case.pair()
    case.write(1)
    case.wait_restored(1)
    wait_until(lambda: _confirmed(case) >= 1, 10, "the write to be confirmed")
    case.linked.set_links(Faults(cut=True))
    here = case.wait_state(PairState.PSUE, timeout=5)
    there = case.wait_state(PairState.PSUE, case.osaka, timeout=5)
    assert "osaka unknown since" in here.line
    assert "tokyo unknown since" in there.line
    assert here.last_contact_ns
    assert (here.sides[1].state, here.sides[1].sequence, here.lag_seconds) == (None, None, None)
    assert there.sides[0].unknown_since_ns == there.last_contact_ns
    assert "; osaka confirmed journals up to " in here.line
    since = here.sides[1].unknown_since_ns
    assert case.tokyo.markers(case.name).unknown_since_ns == {"osaka": since}
    ledger, report = case.tokyo.drills(case.name), case.tokyo.verify_report(case.name)
    assert (ledger.silent, ledger.unknown_since_ns) == (["osaka"], {"osaka": since})
    assert (report.phase, report.unknown_since_ns) == ("unknown", since)
    assert f"{case.name} cannot be verified: osaka unknown since " in report.line
    case.write(2)
    case.linked.set_links(Faults())
    case.wait_state(PairState.PAIR)
    case.wait_restored(2)


def _confirmed(case: Case) -> int:
    state = case.tokyo.journal(case.name).primary
    return state.pointers["confirmed"].sequence if state is not None else 0


def test_a_half_open_link_shows_too(case: Case) -> None:
    case.pair()
    case.linked.set_links(Faults(stalled=True))
    case.wait_state(PairState.PSUE, timeout=6)
    case.wait_state(PairState.PSUE, case.osaka, timeout=6)
    case.linked.set_links(Faults())
    case.wait_state(PairState.PAIR)


def test_delete_leaves_both_volumes_with_everything(case: Case) -> None:
    case.pair()
    case.write(9)
    case.wait_restored(9)
    case.osaka.delete_pair(case.name)
    for agent, site in ((case.tokyo, case.linked.first), (case.osaka, case.linked.second)):
        assert agent.volume(case.name).group is None
        assert case.name not in {pair.group for pair in agent.pairs()}
        assert case.number_at(site) == 9
    with pytest.raises(NotFoundError):
        case.tokyo.delete_pair(case.name)
    case.tokyo.create_pair(case.order())  # and the volumes can be paired again
    case.wait_state(PairState.COPY)


def test_delete_with_the_other_site_silent_needs_force(case: Case) -> None:
    case.pair()
    case.linked.set_links(Faults(cut=True))
    with pytest.raises(PeerError, match="cannot delete") as caught:
        case.tokyo.delete_pair(case.name)
    assert "--force" in caught.value.hint
    assert case.tokyo.volume(case.name).group == case.name
    case.tokyo.delete_pair(case.name, force=True)
    assert case.tokyo.volume(case.name).group is None
    case.linked.set_links(Faults())
    left = case.wait_state(PairState.PSUE, case.osaka)
    assert wait_until(lambda: "tokyo knows no pair" in case.status(case.osaka).line, 15)
    assert left.verdict is Verdict.CRIT
    hint = case.status(case.osaka).next_command or ""
    assert hint == f'End the side of osaka too: "pairvol pair delete {case.name} --force".'

    # What osaka holds is no copy any more of a volume that hosts wrote to since.
    wait_until(lambda: case.tokyo.volume(case.name).server is ServerState.RUNNING, 20, "tokyo to serve its volume")
    case.write(2)
    with pytest.raises(ConflictError, match="osaka still has its side of an earlier pair") as refused:
        case.tokyo.create_pair(case.order())
    assert f"pair delete {case.name} --force" in refused.value.hint
    case.osaka.delete_pair(case.name, force=True)
    assert case.osaka.volume(case.name).group is None
    case.tokyo.create_pair(case.order())
    case.linked.join_data_link(case.name)
    case.wait_state(PairState.PAIR)
    assert case.number_at(case.linked.second) == 2


def test_one_number_orders_the_events_of_agent_and_controller(case: Case) -> None:
    case.pair()
    names = wait_until(lambda: _events_of(case, {"group.created", "pair.created", "pair.state"}), 10)
    assert names
    numbers = [event.number for event in case.tokyo.events()]
    assert numbers == sorted(set(numbers))
    later = case.tokyo.events(after=numbers[-1], wait=0.0)
    assert all(event.number > numbers[-1] for event in later)


def _events_of(case: Case, wanted: set[str]) -> bool:
    return wanted <= {event.name for event in case.tokyo.events() if event.group == case.name}


def test_a_second_agent_on_one_state_directory_is_refused(case: Case) -> None:
    command = [sys.executable, "-m", "hostagent.cli.main", "agent", "run", "--config"]
    configuration = case.linked.first.configuration(Daemon.AGENT)
    done = subprocess.run([*command, str(configuration)], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 20
    assert "another host agent runs on state directory" in done.stderr
