"""Facts: late, repeated and foreign messages do no harm."""

from __future__ import annotations

from typing import Any

import pytest

from controller.api.models import Role
from controller.errors import ConflictError, MissingFileError, NotFoundError, PeerError
from controller.journal.pointers import Pointer
from hostagent.api.models import ExchangeAnswer, TakeoverReport
from hostagent.copy_manager.actions import ExchangeWithPeer, OrderPurge, QueryGroup, QueryRegions, QueryState
from hostagent.copy_manager.facts import Facts
from hostagent.copy_manager.primary import message
from hostagent.copy_manager.side import Instant
from hostagent.history.takeovers import _loss
from tests.unit.hostagent.conftest import Scene


def told(scene: Scene, **changes: object) -> ExchangeAnswer:
    answer = ExchangeAnswer(site="osaka", pair=scene.pair, state=scene.secondary.state(scene.now))
    return answer.model_copy(update=changes)


def test_an_overtaken_answer_is_not_believed(scene: Scene) -> None:
    scene.writes(10)
    late = told(scene)
    scene.now += 1
    scene.copies(10)
    facts = scene.facts()
    facts.heard(scene.instant, late)
    assert facts.peer.state is not None
    assert facts.peer.state.pointers["already_read"].sequence == 10


def test_a_clock_that_stepped_back_does_not_silence_a_side(scene: Scene) -> None:
    scene.writes(10)
    scene.copies(5)
    facts = scene.facts()
    scene.now += 1
    scene.secondary.step_ns = -3600 * 10**9
    scene.copies(7)
    facts.heard(scene.instant, told(scene))
    assert facts.peer.state is not None
    assert facts.peer.state.pointers["already_read"].sequence == 7


@pytest.mark.parametrize("boots", [1, 2])
def test_not_even_when_it_lost_journals_or_its_copy_began_anew(scene: Scene, boots: int) -> None:
    scene.writes(10)
    scene.copies(7)
    facts = scene.facts()
    late = told(scene)
    scene.now += 1
    scene.secondary.step_ns, scene.secondary.boots = -3600 * 10**9, boots
    scene.secondary.restored, scene.secondary.consistent = 4, None
    for _ in range(2):
        facts.heard(scene.instant, told(scene))
        facts.heard(scene.instant, late)
        assert facts.peer.state is not None
        assert facts.peer.state.pointers["already_restored"].sequence == 4


def test_a_late_word_of_an_earlier_start_does_not_silence_the_one_that_runs(scene: Scene) -> None:
    late = told(scene)  # a start that is over when this comes, and was never heard before
    scene.now, scene.secondary.boots = scene.now + 1, 2
    facts = scene.facts()
    scene.now += 1
    facts.heard(scene.instant, late)
    scene.writes(7)
    scene.copies(7)
    facts.heard(scene.instant, told(scene))
    assert facts.peer.starts.doubted
    before = Instant(scene.now + 1, 0)
    scene.now += 2
    facts.noted(scene.instant, ExchangeWithPeer(message(facts)), told(scene), before)
    assert not facts.peer.starts.doubted
    assert facts.peer.position(Pointer.ALREADY_READ).sequence == 7
    facts.heard(scene.instant, late)
    assert facts.peer.position(Pointer.ALREADY_READ).sequence == 7


def test_an_answer_to_a_question_of_before_the_known_word_settles_nothing(scene: Scene) -> None:
    late, facts = told(scene), scene.facts()
    before = scene.instant
    scene.now, scene.secondary.boots = scene.now + 1, 2
    facts.heard(scene.instant, told(scene))
    facts.noted(scene.instant, ExchangeWithPeer(message(facts)), late, before)
    assert facts.peer.starts.doubted
    assert facts.peer.state is not None
    assert facts.peer.state.boot == "boot 2"


def test_a_question_to_the_own_controller_tells_which_start_runs(scene: Scene) -> None:
    late = scene.primary.state(scene.now)
    scene.now, scene.primary.boots = scene.now + 1, 2
    facts = scene.facts()
    facts.noted(scene.instant, QueryState(), late, Instant(0.0, 0))
    before = Instant(scene.now + 1, 0)
    scene.now += 2
    facts.noted(scene.instant, QueryState(), scene.primary.state(scene.now), before)
    assert facts.own.state is not None
    assert facts.own.state.boot == "boot 2"


def test_pointers_that_a_power_cut_set_back_are_believed(scene: Scene) -> None:
    scene.writes(10)
    scene.copies(10)
    facts = scene.facts()
    scene.now += 5
    scene.secondary.restored = 4
    facts.heard(scene.instant, told(scene))
    assert facts.peer.state is not None
    assert facts.peer.state.pointers["already_restored"].sequence == 4


def test_a_lower_generation_is_never_believed(scene: Scene) -> None:
    before = told(scene)
    scene.now += 1
    scene.secondary.take_over(2)
    facts = scene.facts()
    facts.heard(scene.instant, before)
    assert facts.peer.state is not None
    assert facts.peer.state.role is Role.TAKEN_OVER
    assert facts.taken_over


def test_another_pair_of_that_name_is_as_good_as_none(scene: Scene) -> None:
    facts = scene.facts()
    facts.heard(scene.instant, told(scene, pair=scene.pair.model_copy(update={"uuid": "x", "taken_over": True})))
    assert facts.peer_lacks_pair
    assert not facts.taken_over
    facts.heard(scene.instant, told(scene))
    assert not facts.peer_lacks_pair


def test_errors_become_facts(scene: Scene) -> None:
    facts: Facts = scene.facts()
    facts.noted(scene.instant, QueryState(), PeerError("silent"))
    assert facts.own.failure is not None
    facts.noted(scene.instant, QueryState(), NotFoundError("no such group"))
    assert facts.own.absent
    facts.noted(scene.instant, QueryState(), scene.primary.state(scene.now))
    assert facts.own.failure is None
    assert not facts.own.absent
    facts.noted(scene.instant, QueryGroup(), MissingFileError("journal volume j is missing"))
    facts.noted(scene.instant, QueryRegions(), NotFoundError("group db has no changed regions"))
    assert not facts.own.absent, "a file that is gone is no word that the group is"
    assert facts.own.failure is None
    facts.refusals.clear()
    purge = OrderPurge.__new__(OrderPurge)
    facts.noted(scene.instant, purge, ConflictError("not here"))
    assert facts.refusals["OrderPurge"].message == "not here"
    facts.noted(scene.instant, purge, scene.primary.state(scene.now))
    assert facts.refusals == {}


def test_a_controller_that_watched_says_up_to_when_there_was_nothing(scene: Scene) -> None:
    scene.writes(1)
    scene.copies(1)
    facts = scene.facts()
    scene.now += 60
    scene.writes(1)
    facts.noted(scene.instant, QueryState(after=1, wait_seconds=2.0), scene.primary.state(scene.now))
    facts.heard(scene.instant, told(scene))
    assert facts.behind is not None
    assert facts.behind.seconds == 0.2


def test_changed_regions_are_no_lag_any_more_once_their_epoch_has_ended(scene: Scene) -> None:
    scene.writes(10)
    scene.copies(10)
    facts = scene.facts()
    tracked = {"epoch": "e1", "dirty_bytes": 4096}
    facts.own_state(scene.instant, scene.primary.state(scene.now).model_copy(update=tracked))
    facts.heard(scene.instant, told(scene))
    assert facts.behind is not None
    assert facts.behind.total_bytes == 4096
    scene.now += 1
    facts.own_state(scene.instant, scene.primary.state(scene.now))
    assert facts.behind.total_bytes == 0


YEAR_NS = 365 * 86400 * 10**9


def behind(scene: Scene, facts: Facts) -> float:
    scene.look(facts)
    assert facts.behind is not None
    assert facts.behind.journals > 0
    return facts.behind.seconds


def test_a_clock_that_was_a_year_ahead_makes_no_lag_small(scene: Scene) -> None:
    scene.primary.step_ns = YEAR_NS
    scene.writes(5)
    scene.copies(5)
    facts = scene.facts()
    scene.now += 10
    scene.primary.step_ns = 0  # corrected; the times in the journal stay ahead until the year is over
    scene.writes(5)
    assert behind(scene, facts) == 10.0  # the last look that showed no more than what is there
    scene.now += 30
    scene.writes(5)
    assert behind(scene, facts) == 40.0
    scene.copies(10)
    assert behind(scene, facts) == 30.0
    scene.copies(15)
    scene.look(facts)
    assert facts.behind is not None
    assert facts.behind.seconds == 0.0


def test_an_agent_that_begins_while_the_clock_is_behind_the_journals_counts_from_its_first_look(scene: Scene) -> None:
    scene.writes(10)
    scene.copies(5)
    scene.primary.step_ns = -3600 * 10**9
    facts = scene.facts()
    for _ in range(300):  # however many looks there are
        scene.now += 1
        scene.writes(1)
        scene.look(facts)
        scene.primary.confirmed = 0
    assert behind(scene, facts) == 300.0


def test_a_takeover_does_not_know_the_loss_when_the_agent_began_after_a_clock_was_set_back(scene: Scene) -> None:
    scene.writes(10)
    scene.copies(5)
    scene.primary.step_ns = -3600 * 10**9
    scene.now += 1
    facts = scene.facts("osaka")
    scene.now += 1
    fields: dict[str, Any] = {"missing_journals": 5, "changed_bytes_missing": 0}
    moment = Instant(scene.now, scene.instant.wall_ns - 3600 * 10**9)
    facts.covered.append((0, scene.instant.wall_ns))
    assert _loss(TakeoverReport.model_construct(**fields), facts, moment) == (None, None)


def test_what_was_missing_while_a_primary_was_suspended_is_no_news_when_its_journals_go_on(scene: Scene) -> None:
    scene.writes(10)
    scene.copies(5)
    scene.primary.step_ns = -3600 * 10**9
    scene.primary.suspended, scene.primary.epoch = True, "e"
    facts = scene.facts("osaka")
    scene.now += 12
    scene.primary.suspended, scene.primary.epoch = False, None
    assert behind(scene, facts) == 12.0
    assert facts.behind is not None
    assert facts.behind.lower_bound


def test_a_look_at_a_suspended_primary_does_not_say_that_nothing_was_missing(scene: Scene) -> None:
    scene.writes(10)
    scene.copies(10)
    scene.primary.step_ns = -3600 * 10**9
    scene.primary.suspended, scene.primary.epoch = True, "e"
    facts = scene.facts("osaka")
    scene.now += 12
    scene.look(facts)
    assert facts.behind is not None
    assert (facts.behind.seconds, facts.behind.lower_bound) == (12.0, True)


def test_what_is_missing_is_no_news_when_the_primary_lost_journals_behind_it(scene: Scene) -> None:
    scene.writes(10)
    scene.copies(5)
    facts = scene.facts("osaka")
    scene.primary.step_ns = -3600 * 10**9
    scene.now += 12
    scene.primary.host_writes(scene.now, 1)
    scene.look(facts)
    scene.primary.volume_server_crashes()
    assert behind(scene, facts) == 12.0


def test_a_takeover_does_not_call_the_loss_small_after_a_clock_was_set_back(scene: Scene) -> None:
    scene.writes(5)
    scene.copies(5)
    facts = scene.facts()
    scene.now += 60
    scene.writes(5)
    scene.look(facts)
    fields: dict[str, Any] = {"missing_journals": None, "changed_bytes_missing": 0}
    assert _loss(
        TakeoverReport.model_construct(**fields), facts, Instant(scene.now, scene.instant.wall_ns - 3600 * 10**9)
    ) == (None, 60.0)
