"""Resync, split and swap: what the managers decide, what the table allows, what a person reads."""

from __future__ import annotations

import pytest

from controller.api.models import (
    AcquisitionMode,
    ChangedRegions,
    CopyState,
    InitialCopy,
    JournalState,
    Position,
    Role,
    SplitMode,
    SuspendedCause,
)
from controller.errors import ConflictError
from hostagent.api.models import Attachment, PairState, Verdict
from hostagent.config import CopySettings
from hostagent.copy_manager.actions import (
    OrderClearEpoch,
    OrderDemote,
    OrderFence,
    OrderPromote,
    OrderResume,
    OrderResync,
    QueryRegions,
)
from hostagent.copy_manager.facts import Facts
from hostagent.copy_manager.manager import CopyManager, learnt
from hostagent.copy_manager.pace import Pace
from hostagent.copy_manager.primary import message
from hostagent.life import rejoin, resync
from hostagent.life.direction import becoming
from hostagent.life.missing import refuse_dropping
from hostagent.life.turn import taken_back, turned
from hostagent.pairs import PairEvent, next_state
from hostagent.status import pair_status
from tests.unit.hostagent.conftest import Scene

REGIONS = ChangedRegions(epoch="e", region_bytes=1 << 20, sequence=10, volumes={})


def own(facts: Facts) -> JournalState:
    assert facts.own.state is not None
    return facts.own.state


def peer(facts: Facts) -> JournalState:
    assert facts.peer.state is not None
    return facts.peer.state


@pytest.fixture
def full(scene: Scene) -> Facts:
    """The primary's agent; its journal was full, and all of it is at the secondary by now."""
    scene.writes(10)
    scene.copies(10)
    scene.primary.confirmed = 10
    scene.primary.suspended, scene.primary.epoch, scene.primary.suspended_at = True, "e", 10
    return scene.facts()


def of_primary(facts: Facts, *, wanted: bool = False, confirmed: int = 10) -> list[type]:
    return [type(action) for action in resync.of_primary(facts, own(facts), confirmed, Pace(), wanted=wanted)]


def test_a_full_journal_is_resumed_once_everything_before_is_there(full: Facts) -> None:
    assert of_primary(full) == [OrderResume]
    assert of_primary(full, confirmed=9) == []
    peer(full).split = SplitMode.READ
    assert of_primary(full) == []


def test_what_an_operator_or_a_disk_suspended_waits_for_an_order(full: Facts) -> None:
    for cause in (SuspendedCause.OPERATOR, SuspendedCause.ERROR):
        own(full).suspended_cause = cause
        assert of_primary(full) == []
        assert of_primary(full, wanted=True) == [OrderResume]


def test_a_policy_leaves_the_resync_to_a_person(full: Facts) -> None:
    policy = full.pair.policy.model_copy(update={"resync": "command"})
    full.turn(full.pair.model_copy(update={"policy": policy}))
    assert of_primary(full) == []
    assert of_primary(full, wanted=True) == [OrderResume]


def test_the_first_copy_of_a_pair_begins_by_itself_whatever_the_policy(scene: Scene, full: Facts) -> None:
    policy = full.pair.policy.model_copy(update={"resync": "command"})
    full.turn(full.pair.model_copy(update={"policy": policy}))
    peer(full).initial_copy = InitialCopy(state=CopyState.NONE)
    assert of_primary(full) == [OrderResume]
    assert said(scene, full)[3] == "pairvol pair wait db --state PAIR"
    peer(full).initial_copy = InitialCopy(state=CopyState.RUNNING)
    assert of_primary(full) == []
    assert said(scene, full)[3] == "pairvol pair resync db"
    peer(full).initial_copy = InitialCopy(state=CopyState.NONE)
    peer(full).epoch = "was a primary"
    assert of_primary(full) == []


def test_a_refusal_is_forgotten_once_there_is_no_reason_for_the_order(scene: Scene, full: Facts) -> None:
    manager = CopyManager(CopySettings())
    order = OrderResume()
    assert order in manager.step(scene.instant, full)
    refusal = ConflictError("there is nothing to resume")
    full.noted(scene.instant, order, refusal)
    manager.ended(scene.instant, order, good=False)
    manager.step(scene.instant, full)
    assert "OrderResume" in full.refusals  # it still has to be done
    own(full).mode, own(full).epoch = AcquisitionMode.JOURNAL, None
    manager.step(scene.instant, full)
    assert full.refusals == {}


def test_an_epoch_is_cleared_only_when_the_secondary_is_consistent(full: Facts) -> None:
    own(full).changes_final, own(full).mode = True, AcquisitionMode.JOURNAL
    assert of_primary(full) == [QueryRegions]
    full.regions = REGIONS
    assert of_primary(full) == []
    assert message(full).regions == REGIONS
    copy = peer(full).initial_copy = InitialCopy(state=CopyState.RUNNING, epoch="e")
    assert of_primary(full) == []
    assert message(full).regions is None
    peer(full).initial_copy = copy.model_copy(update={"state": CopyState.DONE})
    peer(full).consistent_sequence = 11
    assert of_primary(full) == []
    peer(full).pointers["already_restored"] = Position(sequence=11)
    assert of_primary(full) == [OrderClearEpoch]
    peer(full).initial_copy = copy.model_copy(update={"state": CopyState.DONE, "epoch": "another"})
    assert of_primary(full) == []


def test_a_secondary_takes_the_regions_up_unless_hosts_use_its_volumes(scene: Scene) -> None:
    scene.primary.epoch, scene.primary.final = "e", True
    facts = scene.facts("osaka")
    facts.composition, facts.links = scene.primary.group().composition, scene.primary.group().links
    facts.source_generation, facts.regions = 1, REGIONS
    source = facts.source
    assert source is not None
    assert resync.needs_regions(facts, own(facts))

    def orders() -> list[type]:
        given = resync.of_secondary(facts, own(facts), source, Pace(), lasting=True, wanted=False)
        return [type(action) for action in given]

    assert orders() == [OrderResync]
    own(facts).split = SplitMode.WRITE
    assert orders() == []
    own(facts).split = SplitMode.OFF
    own(facts).initial_copy = InitialCopy(state=CopyState.FAILED, epoch="e")
    assert orders() == []  # a person must act first
    own(facts).initial_copy = InitialCopy(state=CopyState.NONE)
    assert not resync.needs_regions(facts, own(facts))  # never copied: everything is needed


def test_a_turned_pair_makes_the_managers_promote_and_demote(scene: Scene) -> None:
    scene.secondary.take_over(2)
    scene.primary.role = Role.FENCED
    new, old = scene.facts("osaka"), scene.facts("tokyo")
    assert rejoin.promote(new, own(new), Pace()) == []
    pair = turned(scene.pair, 2)
    assert (pair.primary.site, pair.secondary.site, pair.turns, pair.taken_over) == ("osaka", "tokyo", 1, False)
    old.peer_pair = pair
    assert learnt(old) == pair
    new.turn(pair)
    old.turn(pair)
    peer(old).pointers["confirmed"] = Position(sequence=7)
    (promote,) = rejoin.promote(new, own(new), Pace())
    (demote,) = rejoin.demote(old, own(old), Pace())
    assert isinstance(promote, OrderPromote)
    assert isinstance(demote, OrderDemote)
    assert (promote.order.generation, demote.order.generation, demote.order.base.sequence) == (2, 2, 7)
    assert not any(isinstance(action, OrderPromote) for action in CopyManager(CopySettings()).step(scene.instant, old))
    own(old).generation = 2  # demoted by now
    own(old).role = Role.SECONDARY
    assert rejoin.demote(old, own(old), Pace()) == []


def test_the_old_primary_is_kept_only_once_the_other_site_is_fenced_for_it(scene: Scene) -> None:
    scene.secondary.take_over(2)
    scene.primary.role = Role.FENCED
    old, new = scene.facts("tokyo"), scene.facts("osaka")
    pair = taken_back(learnt(old), 3)
    assert (pair.primary.site, pair.generation, pair.turns, pair.taken_over) == ("tokyo", 3, 1, False)
    old.turn(pair)
    new.peer_pair = pair
    assert learnt(old) == pair, "that the other site serves is old news now"
    assert learnt(new) == pair
    new.turn(pair)
    assert becoming(old)
    assert becoming(new)
    assert pair_status(old, scene.instant, CopySettings()).state is PairState.COPY
    assert rejoin.promote(old, own(old), Pace()) == []
    (fence,) = rejoin.fence(new, own(new), Pace())
    assert isinstance(fence, OrderFence)
    assert fence.request.generation == 3
    assert [type(each) for each in rejoin.demote(new, own(new), Pace())] == []

    own(new).role = peer(old).role = Role.FENCED
    assert rejoin.fence(new, own(new), Pace()) == []
    (promote,) = rejoin.promote(old, own(old), Pace())
    assert isinstance(promote, OrderPromote)
    assert promote.order.generation == 3
    own(old).role, own(old).generation = Role.PRIMARY, 3
    peer(new).role, peer(new).generation = Role.PRIMARY, 3
    (demote,) = rejoin.demote(new, own(new), Pace())
    assert isinstance(demote, OrderDemote)
    assert demote.order.generation == 3
    own(new).role, own(new).generation = Role.SECONDARY, 3
    assert not becoming(new)


def test_what_the_site_that_took_over_has_is_counted_before_it_is_dropped(scene: Scene) -> None:
    scene.secondary.take_over(2)
    facts = scene.facts("tokyo")
    new = peer(facts)
    refuse_dropping(facts.pair, new, [], "10:15:03.2Z")
    new.dirty_bytes = 5 << 19
    attached = Attachment(volume="data", device="/dev/loop5", uri="nbd+unix:///data", method="nbdfuse")
    with pytest.raises(ConflictError) as caught:
        refuse_dropping(facts.pair, new, [attached], "10:15:03.2Z")
    assert "osaka changed 2.5 MiB in 3 regions after journal 0 of 10:15:03.2Z" in caught.value.message
    assert "data as /dev/loop5" in caught.value.message
    assert "pairvol pair resync db --force" in caught.value.hint
    new.dirty_bytes = 0
    with pytest.raises(ConflictError, match="the host of osaka has attached data as /dev/loop5"):
        refuse_dropping(facts.pair, new, [attached], "10:15:03.2Z")


@pytest.mark.parametrize(
    ("state", "event", "hint"),
    [
        (PairState.COPY, PairEvent.SPLIT, "pairvol pair wait db --state PAIR"),
        (PairState.PFUS, PairEvent.SPLIT, "pairvol pair resync db"),
        (PairState.SSWS, PairEvent.SPLIT, "pairvol pair resync db --swap"),
        (PairState.SSWS, PairEvent.VERIFY, "pairvol pair resync db --swap"),
        (PairState.PSUS, PairEvent.SWAP, "pairvol pair takeover db"),
        (PairState.SMPL, PairEvent.RESYNC, "pairvol pair create"),
    ],
)
def test_a_refused_command_names_the_next(state: PairState, event: PairEvent, hint: str) -> None:
    with pytest.raises(ConflictError) as caught:
        next_state(state, event, "db")
    assert f"cannot {event} db: it is {state}" == caught.value.message
    assert hint in caught.value.hint


def said(scene: Scene, facts: Facts) -> tuple[Verdict, PairState, str, str | None]:
    status = pair_status(facts, scene.instant, CopySettings())
    return status.verdict, status.state, status.line, status.next_command


def test_what_is_said_of_a_suspension_by_its_cause(scene: Scene, full: Facts) -> None:
    verdict, state, line, command = said(scene, full)
    assert (verdict, state, command) == (Verdict.CRIT, PairState.PFUS, "pairvol pair wait db --state PAIR")
    lag = "lag 0.0 s (1 MiB), last restored 22:15:00.0Z"
    assert line.endswith(f"the journal of tokyo was full, changes tracked (1 MiB); {lag}; resync begins by itself")
    own(full).suspended_cause = SuspendedCause.OPERATOR
    peer(full).split = SplitMode.WRITE
    assert said(scene, full) == (
        Verdict.WARN,
        PairState.PSUS,
        f"db is not protected: it was split by an operator, changes tracked (1 MiB); osaka is writable; {lag}",
        "pairvol pair resync db",
    )
    own(full).suspended_cause = SuspendedCause.ERROR
    verdict, state, line, command = said(scene, full)
    assert (verdict, state) == (Verdict.CRIT, PairState.PSUE)
    assert line == f"db is not protected: the disk of the journal of tokyo refused; {lag}"
    assert command == 'Mend that disk, then "pairvol pair resync db".'


def test_a_resync_is_a_copy_with_its_percent(scene: Scene, full: Facts) -> None:
    own(full).mode, own(full).changes_final = AcquisitionMode.JOURNAL, True
    peer(full).initial_copy = InitialCopy(state=CopyState.RUNNING, epoch="e", bytes_done=41, bytes_total=100)
    verdict, state, line, _ = said(scene, full)
    assert (verdict, state) == (Verdict.WARN, PairState.COPY)
    assert "db is copying 41 %" in line


def test_a_filling_journal_has_a_forecast(scene: Scene) -> None:
    scene.writes(250)
    facts = scene.facts()
    own(facts).seconds_to_full = 90.0
    assert "journal 83 % full, full in " in said(scene, facts)[2]


def test_an_orphan_tail_asks_for_force(scene: Scene) -> None:
    scene.writes(10)
    scene.copies(8)
    scene.secondary.take_over(2)
    scene.primary.role = Role.FENCED
    verdict, state, line, command = said(scene, scene.facts("osaka"))
    assert (verdict, state, command) == (Verdict.CRIT, PairState.SSWS, "pairvol pair resync db --swap --force")
    assert "tokyo is fenced and keeps 2 journals (8 KiB) that never reached osaka" in line
