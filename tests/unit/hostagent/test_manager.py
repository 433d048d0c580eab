"""What the copy manager asks for in single situations; whole histories are in tests/simulation."""

from __future__ import annotations

import pytest

from controller.api.models import (
    CopyMode,
    CopyState,
    Failure,
    InitialCopy,
    JournalState,
    Links,
    RestoreMode,
    Role,
)
from controller.errors import PeerError
from hostagent.api.models import ExchangeAnswer, PairPolicy, Trigger
from hostagent.config import CopySettings
from hostagent.copy_manager.actions import (
    Action,
    ExchangeWithPeer,
    OrderCopy,
    OrderFence,
    OrderInitialCopy,
    OrderPurge,
    OrderRestore,
    OrderServe,
    QueryState,
    SavePair,
)
from hostagent.copy_manager.facts import Facts
from hostagent.copy_manager.manager import CopyManager, learnt
from hostagent.copy_manager.primary import message
from hostagent.life.turn import taken_back, turned
from hostagent.limit import limited
from tests.simulation.controller import COMPOSITION
from tests.unit.hostagent.conftest import Scene

LINKS = Links(journal_uri="nbd://j", pointers_uri="nbd://p", volume_uris={})


def secondary(scene: Scene, **policy: object) -> Facts:
    """What osaka's agent knows right after it heard the primary."""
    scene.pair = scene.pair.model_copy(update={"policy": PairPolicy.model_validate(policy)})
    facts = scene.facts("osaka")
    facts.composition, facts.links, facts.source_generation = COMPOSITION, LINKS, 1
    return facts


def own_state(facts: Facts) -> JournalState:
    assert facts.own.state is not None
    return facts.own.state


def asked(scene: Scene, facts: Facts, manager: CopyManager | None = None) -> dict[type, Action]:
    return {type(action): action for action in (manager or CopyManager(CopySettings())).step(scene.instant, facts)}


def awaited(scene: Scene, facts: Facts, manager: CopyManager, kind: type[Action]) -> Action:
    """Let time pass, with a controller that answers, until the manager asks for this."""
    for _ in range(100):
        actions = asked(scene, facts, manager)
        for action in actions.values():
            if isinstance(action, QueryState):
                own = scene.primary if facts.is_primary else scene.secondary
                facts.noted(scene.instant, action, own.state(scene.now))
                manager.ended(scene.instant, action, True)
        if kind in actions:
            return actions[kind]
        scene.now += 0.1
    raise AssertionError(f"the manager never asked for {kind.__name__}")


def test_a_new_agent_asks_its_controller_first_and_only_once(scene: Scene) -> None:
    facts = Facts("tokyo", scene.pair, scene.instant)
    manager = CopyManager(CopySettings())
    assert list(asked(scene, facts, manager)) == [QueryState]
    assert asked(scene, facts, manager) == {}  # it is under way


def test_the_primary_tells_what_it_saw_and_purges_what_was_confirmed(scene: Scene) -> None:
    scene.writes(10)
    scene.copies(6)
    facts = scene.facts()
    actions = asked(scene, facts)
    exchange, purge = actions[ExchangeWithPeer], actions[OrderPurge]
    assert isinstance(exchange, ExchangeWithPeer)
    assert exchange.message.state == facts.own.state
    assert isinstance(purge, OrderPurge)
    assert (purge.request.reader, purge.request.to_sequence) == ("osaka", 6)


@pytest.mark.parametrize("change", [{"generation": 2}, {"uuid": "another"}, {"role": Role.TAKEN_OVER}])
def test_nothing_is_purged_for_a_secondary_that_is_not_this_pairs(scene: Scene, change: dict[str, object]) -> None:
    scene.writes(10)
    scene.copies(6)
    facts = scene.facts()
    assert facts.peer.state is not None
    facts.peer.state = facts.peer.state.model_copy(update=change)
    assert OrderPurge not in asked(scene, facts)


def test_purge_on_command_frees_nothing_by_itself(scene: Scene) -> None:
    scene.pair = scene.pair.model_copy(update={"policy": PairPolicy(purge="command")})
    scene.writes(10)
    scene.copies(6)
    word = asked(scene, scene.facts())[OrderPurge]
    assert isinstance(word, OrderPurge)
    assert word.request.to_sequence == 0


def test_word_that_the_other_site_does_not_serve_is_repeated(scene: Scene) -> None:
    manager, facts = CopyManager(CopySettings()), scene.facts()
    manager.ended(scene.instant, asked(scene, facts, manager)[OrderPurge], True)
    scene.now += 19
    scene.look(facts)
    assert OrderPurge not in asked(scene, facts, manager)
    scene.now += 2
    scene.look(facts)
    assert OrderPurge in asked(scene, facts, manager)


def test_a_primary_that_was_away_serves_when_the_other_site_was_heard(scene: Scene) -> None:
    scene.primary.awaits = True
    facts = scene.facts()
    assert OrderServe not in asked(scene, facts)  # it was heard; what it said may be old
    facts.answered = scene.instant
    serve = asked(scene, facts)[OrderServe]
    assert isinstance(serve, OrderServe)
    assert (serve.order.generation, serve.order.on) == (1, True)
    own = facts.own.state
    assert own is not None
    own.quiesced = True  # a takeover may be under way: read it may be, written not
    serve = asked(scene, facts)[OrderServe]
    assert isinstance(serve, OrderServe)
    assert not serve.order.on

    scene.now += 1.1  # its word is old
    facts.own_state(scene.instant, scene.primary.state(scene.now))
    assert OrderServe not in asked(scene, facts)

    scene.secondary.take_over(2)
    scene.look(facts)
    actions = asked(scene, facts)
    assert OrderServe not in actions
    assert OrderFence in actions


def test_an_answer_with_no_news_of_its_controller_lets_no_primary_serve(scene: Scene) -> None:
    scene.primary.awaits = True
    facts = scene.facts()
    manager = CopyManager(CopySettings())

    def answers(state: JournalState | None) -> bool:
        answer = ExchangeAnswer(site="osaka", pair=scene.pair, state=state)
        facts.noted(scene.instant, ExchangeWithPeer(message(facts)), answer)
        return OrderServe in asked(scene, facts, manager)

    assert not answers(facts.peer.state)  # the agent repeats itself: its controller may have taken over meanwhile
    assert not answers(None)  # it does not answer its agent
    scene.now += 2
    assert answers(scene.secondary.state(scene.now))


def test_a_primary_that_hears_of_a_higher_generation_keeps_it_and_is_fenced(scene: Scene) -> None:
    facts = scene.facts()
    facts.peer_generation = 2
    actions = asked(scene, facts)
    fence, saved = actions[OrderFence], actions[SavePair]
    assert isinstance(fence, OrderFence)
    assert fence.request.generation == 2
    assert isinstance(saved, SavePair)
    assert saved.pair.generation == 2


def test_a_notified_secondary_follows_under_a_lease_and_renews_it(scene: Scene) -> None:
    manager, facts = CopyManager(CopySettings()), secondary(scene)
    order = asked(scene, facts, manager)[OrderCopy]
    assert isinstance(order, OrderCopy)
    assert (order.order.mode, order.order.lease_seconds) == (CopyMode.FOLLOW, 10.0)
    assert order.order.restore is RestoreMode.AT_ONCE
    manager.ended(scene.instant, order, True)
    own_state(facts).copy_order_active = True
    assert OrderCopy not in asked(scene, facts, manager)
    scene.now += 3.1
    scene.look(facts)
    own_state(facts).copy_order_active = True
    assert OrderCopy in asked(scene, facts, manager)


def test_journals_after_a_rest_are_told_to_the_controller_at_once_and_a_stream_of_them_is_not(scene: Scene) -> None:
    manager, facts = CopyManager(CopySettings()), secondary(scene)

    def ordered() -> bool:
        scene.look(facts)
        own_state(facts).copy_order_active = True
        actions = asked(scene, facts, manager)
        for action in actions.values():
            manager.ended(scene.instant, action, True)
        return OrderCopy in actions

    assert ordered()  # the first
    scene.now += 1.5
    assert not ordered()
    scene.writes(1)
    assert ordered()
    scene.now += 0.6
    scene.writes(1)
    assert not ordered()  # the controller looks often for a while
    scene.now += 0.6
    scene.writes(1)
    assert not ordered()
    scene.now += 1.5
    scene.writes(1)
    scene.copies(scene.primary.durable)
    assert not ordered()  # it has found them by itself


def test_an_order_that_the_controller_forgot_is_given_again_soon(scene: Scene) -> None:
    manager, facts = CopyManager(CopySettings()), secondary(scene)
    manager.ended(scene.instant, asked(scene, facts, manager)[OrderCopy], True)
    scene.now += 0.6
    assert OrderCopy in asked(scene, facts, manager)


def test_a_failing_order_is_given_ever_more_rarely(scene: Scene) -> None:
    manager, facts = CopyManager(CopySettings()), secondary(scene)
    waits = []
    for _ in range(6):
        started = scene.now
        order = awaited(scene, facts, manager, OrderCopy)
        waits.append(scene.now - started)
        manager.ended(scene.instant, order, False)
    assert waits == sorted(waits)
    assert 3.9 < waits[-1] < 4.2


def test_the_initial_copy_waits_for_acquisition(scene: Scene) -> None:
    scene.secondary.consistent = None
    scene.primary.acquisition = False
    facts = secondary(scene)
    assert OrderInitialCopy not in asked(scene, facts)
    scene.primary.acquisition = True
    scene.look(facts)
    assert OrderInitialCopy in asked(scene, facts)


def test_the_initial_copy_begins_anew_after_a_gap(scene: Scene) -> None:
    facts = secondary(scene)
    assert OrderInitialCopy not in asked(scene, facts)
    scene.primary.stop_and_start()
    scene.look(facts)
    order = asked(scene, facts)[OrderInitialCopy]
    assert isinstance(order, OrderInitialCopy)
    assert order.order.gap_sequence == scene.primary.gap


def test_what_a_disk_stopped_is_not_ordered_again(scene: Scene) -> None:
    broken = Failure(error="StorageError", message="disk refused", time_ns=1)
    facts = secondary(scene, trigger=Trigger.SCHEDULE)
    own_state(facts).initial_copy = InitialCopy(state=CopyState.FAILED, failure=broken)
    own_state(facts).failure = broken
    assert not {OrderInitialCopy, OrderCopy, OrderRestore} & asked(scene, facts).keys()
    own_state(facts).initial_copy = InitialCopy(
        state=CopyState.FAILED, failure=broken.model_copy(update={"error": "PeerError"})
    )
    assert OrderInitialCopy in asked(scene, facts)


def test_a_secondary_that_was_taken_over_orders_nothing(scene: Scene) -> None:
    facts = secondary(scene)
    own_state(facts).role = Role.TAKEN_OVER
    own_state(facts).generation = 2
    actions = asked(scene, facts)
    assert not {OrderInitialCopy, OrderCopy, OrderRestore} & actions.keys()
    saved = actions[SavePair]
    assert isinstance(saved, SavePair)
    assert (saved.pair.generation, saved.pair.taken_over) == (2, True)


def test_a_source_of_another_generation_is_not_followed(scene: Scene) -> None:
    facts = secondary(scene)
    facts.source_generation = 2
    assert OrderCopy not in asked(scene, facts)


def test_schedule_copies_at_once_then_when_its_time_has_come(scene: Scene) -> None:
    scene.writes(10)
    manager, facts = CopyManager(CopySettings()), secondary(scene, trigger=Trigger.SCHEDULE, schedule_seconds=60)
    order = asked(scene, facts, manager)[OrderCopy]
    assert isinstance(order, OrderCopy)
    assert (order.order.mode, order.order.to_sequence) == (CopyMode.ONCE, 10)
    manager.ended(scene.instant, order, True)
    scene.copies(10)
    scene.writes(5)
    scene.now += 30
    scene.look(facts)
    assert OrderCopy not in asked(scene, facts, manager)
    scene.now += 31
    scene.look(facts)
    later = asked(scene, facts, manager)[OrderCopy]
    assert isinstance(later, OrderCopy)
    assert later.order.to_sequence == 15


def test_the_fill_level_starts_a_copy(scene: Scene) -> None:
    scene.secondary.consistent = 0
    scene.writes(100)
    facts = secondary(scene, trigger=Trigger.FILL)
    assert OrderCopy not in asked(scene, facts)
    scene.writes(60)
    scene.look(facts)
    order = asked(scene, facts)[OrderCopy]
    assert isinstance(order, OrderCopy)
    assert order.order.to_sequence == 160


def test_command_copies_nothing_by_itself_but_sees_a_command_through(scene: Scene) -> None:
    scene.writes(200)
    manager, facts = CopyManager(CopySettings()), secondary(scene, trigger=Trigger.COMMAND)
    assert OrderCopy not in asked(scene, facts, manager)
    manager.secondary.copy_to = 50
    assert OrderCopy in asked(scene, facts, manager)


def test_later_is_restored_on_command_only(scene: Scene) -> None:
    scene.writes(5)
    scene.secondary.read = 5
    assert OrderRestore in asked(scene, secondary(scene, trigger=Trigger.COMMAND))
    assert OrderRestore not in asked(scene, secondary(scene, trigger=Trigger.COMMAND, restore="later"))


def test_a_silent_primary_is_called(scene: Scene) -> None:
    manager, facts = CopyManager(CopySettings()), secondary(scene)
    assert ExchangeWithPeer not in asked(scene, facts, manager)
    scene.now += 2.6
    assert ExchangeWithPeer in asked(scene, facts, manager)


def test_a_primary_is_called_when_its_words_leave_a_doubt_and_not_without_pause(scene: Scene) -> None:
    manager, facts = CopyManager(CopySettings()), secondary(scene)
    facts.peer.starts.doubted = True
    call = asked(scene, facts, manager)[ExchangeWithPeer]
    manager.ended(scene.instant, call, True)  # without a state: that agent's controller is silent
    assert ExchangeWithPeer not in asked(scene, facts, manager)
    scene.now += 0.6
    assert ExchangeWithPeer in asked(scene, facts, manager)


def test_an_idle_primary_waits_at_its_controller_and_a_busy_one_looks_again_within_a_beat(scene: Scene) -> None:
    scene.writes(1)
    scene.copies(1)
    manager, facts = CopyManager(CopySettings()), scene.facts()
    manager.ended(scene.instant, asked(scene, facts, manager)[ExchangeWithPeer], True)
    look = asked(scene, facts, manager)[QueryState]
    assert look == QueryState(1, 2.0)
    manager.ended(scene.instant, look, True)

    scene.now += 0.1
    scene.writes(50)
    scene.look(facts)
    manager.ended(scene.instant, asked(scene, facts, manager)[ExchangeWithPeer], True)
    assert QueryState not in asked(scene, facts, manager)
    assert 0.05 < manager.rest_seconds() <= 1.0


def test_a_filling_journal_makes_the_primary_look_fast(scene: Scene) -> None:
    manager, facts = CopyManager(CopySettings()), scene.facts()
    manager.ended(scene.instant, asked(scene, facts, manager)[ExchangeWithPeer], True)
    scene.now += 1
    scene.writes(160)
    scene.look(facts)
    manager.ended(scene.instant, asked(scene, facts, manager)[ExchangeWithPeer], True)
    asked(scene, facts, manager)
    assert manager.rest_seconds() == pytest.approx(0.1)


def test_a_dead_link_is_tried_again_within_seconds(scene: Scene) -> None:
    manager, facts = CopyManager(CopySettings()), scene.facts()
    waits = []
    for _ in range(10):
        started = scene.now
        exchange = awaited(scene, facts, manager, ExchangeWithPeer)
        waits.append(scene.now - started)
        facts.not_heard(scene.instant, PeerError("refused"))
        manager.ended(scene.instant, exchange, False)
    assert max(waits) < 4.5


def test_another_limit_is_ordered_at_once_whatever_the_trigger(scene: Scene) -> None:
    facts = secondary(scene, limit_bytes_per_second=1 << 20)
    own_state(facts).copy_order_active = True
    manager = CopyManager(CopySettings())
    order = awaited(scene, facts, manager, OrderCopy)
    assert isinstance(order, OrderCopy)
    assert order.order.limit_bytes_per_second == 1 << 20


def test_another_limit_does_not_wait_behind_the_order_before_it(scene: Scene) -> None:
    facts = secondary(scene)
    manager = CopyManager(CopySettings())
    manager.ended(scene.instant, asked(scene, facts, manager)[OrderCopy], True)
    scene.now += 0.01
    facts.pair = limited(facts.pair, 1 << 20)
    order = asked(scene, facts, manager)[OrderCopy]
    assert isinstance(order, OrderCopy)
    assert order.order.limit_bytes_per_second == 1 << 20
    manager.ended(scene.instant, order, True)
    assert OrderCopy not in asked(scene, facts, manager)


def test_a_limit_that_the_other_agent_has_is_learnt(scene: Scene) -> None:
    facts = secondary(scene)
    facts.peer_pair = limited(facts.pair, 1 << 20)
    saved = asked(scene, facts)[SavePair]
    assert isinstance(saved, SavePair)
    assert saved.pair.policy.limit_bytes_per_second == 1 << 20
    facts.turn(saved.pair)
    assert SavePair not in asked(scene, facts)


def test_of_two_directions_decided_at_once_both_agents_come_to_the_one_of_the_higher_generation(scene: Scene) -> None:
    """A planned takeover turned the pair by itself while a person, at the old primary, kept that one."""
    took_over = scene.pair.model_copy(update={"generation": 2, "taken_over": True})
    ours, theirs = taken_back(took_over, 3), turned(took_over, 2)
    for site, kept, told in (("osaka", theirs, ours), ("tokyo", ours, theirs)):
        facts = Facts(site, kept, scene.instant)
        state = scene.primary.state(scene.now) if site == "osaka" else scene.secondary.state(scene.now)
        peer = "tokyo" if site == "osaka" else "osaka"
        facts.heard(scene.instant, ExchangeAnswer(site=peer, pair=told, state=state, generation_known=told.generation))
        known = learnt(facts)
        assert (known.primary.site, known.generation, known.turns) == ("tokyo", 3, 1)
