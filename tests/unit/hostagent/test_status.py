"""The first line, for every state; what an operator reads is a contract."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from controller.api.models import (
    Compression,
    CopyState,
    Failure,
    InitialCopy,
    JournalState,
    Role,
    SafePoint,
    SplitMode,
    SuspendedCause,
    VerifyState,
)
from controller.api.runs import RunKind
from controller.errors import ConflictError, DiskFullError, PeerError
from hostagent.api.models import ExchangeAnswer, Pair, PairState, PairStatus, Verdict
from hostagent.config import CopySettings
from hostagent.copy_manager.actions import OrderCopy
from hostagent.copy_manager.facts import Facts
from hostagent.copy_manager.primary import message
from hostagent.status import pair_status
from tests.unit.hostagent.conftest import Scene


def status(scene: Scene, facts: Facts | None = None) -> PairStatus:
    return pair_status(facts or scene.facts(), scene.instant, CopySettings())


def secondary_state(scene: Scene, facts: Facts) -> JournalState:
    state = facts.secondary.state
    assert state is not None
    return state


def test_protected(scene: Scene) -> None:
    scene.writes(100)
    scene.copies(100)
    said = status(scene)
    assert (said.verdict, said.state, said.number) == (Verdict.OK, PairState.PAIR, 2)
    assert said.line == "db is protected: tokyo -> osaka, lag 0.0 s (0 B), last restored 22:15:00.0Z"
    assert said.cause is None
    assert said.next_command is None
    assert (said.lag_seconds, said.lag_bytes) == (0.0, 0)
    assert [side.side for side in said.sides] == ["P-VOL", "S-VOL"]
    assert [side.sequence for side in said.sides] == [100, 100]


def test_lag_is_counted_on_the_primary_clock_from_the_newest_journal_that_is_there(scene: Scene) -> None:
    scene.writes(100)
    scene.copies(100)
    facts = scene.facts()
    scene.now += 0.5
    scene.writes(60)
    scene.now += 0.2
    scene.look(facts)
    said = status(scene, facts)
    # The first of the 60 may be as old as the last look; it cannot be older.
    assert said.lag_seconds == 0.7
    assert said.lag_bytes == 60 * 8 * 512
    assert said.line.startswith("db is protected: tokyo -> osaka, lag 0.7 s (240 KiB), ")


def test_an_idle_hour_is_no_lag(scene: Scene) -> None:
    scene.writes(1)
    scene.copies(1)
    facts = scene.facts()
    scene.now += 3600
    scene.look(facts)
    scene.now += 1
    scene.writes(1)
    scene.look(facts)
    assert status(scene, facts).lag_seconds == 1.0


def test_both_agents_say_the_same(scene: Scene) -> None:
    scene.writes(10)
    scene.copies(4)
    assert status(scene, scene.facts("tokyo")).line == status(scene, scene.facts("osaka")).line


def test_behind_is_a_warning(scene: Scene) -> None:
    scene.writes(10)
    scene.copies(5)
    facts = scene.facts()
    scene.now += 42
    scene.look(facts)
    said = status(scene, facts)
    assert (said.verdict, said.state) == (Verdict.WARN, PairState.PAIR)
    assert said.line.startswith("db is behind: tokyo -> osaka, lag 42 s (20 KiB)")
    assert said.cause == "osaka reads more slowly than tokyo writes"


def test_a_lag_that_nobody_knows_is_not_called_nothing(scene: Scene) -> None:
    scene.writes(10)
    scene.copies(5)
    scene.primary.step_ns = -3600 * 10**9  # the times in the journals tell nothing, and the agent has just begun
    facts = scene.facts("osaka")
    said = status(scene, facts)
    assert (said.verdict, said.lag_seconds, said.sides[1].lag_seconds) == (Verdict.WARN, None, None)
    assert said.line.startswith("db is behind: tokyo -> osaka, lag unknown (20 KiB)")
    assert said.cause == "the clock of tokyo was set back, so since when journals are missing is not known"
    scene.now += 12
    scene.look(facts)
    said = status(scene, facts)
    assert (said.verdict, said.lag_seconds, said.lag_bytes) == (Verdict.WARN, None, 5 * 8 * 512)
    assert said.lag_seconds_min == 12.0
    assert said.line.startswith("db is behind: tokyo -> osaka, lag at least 12 s (20 KiB)")
    scene.writes(5)
    scene.copies(10)
    scene.now += 1
    scene.look(facts)
    said = status(scene, facts)
    assert (said.verdict, said.lag_seconds) == (Verdict.OK, 1.0)  # since the last look, which showed no more


def test_copying(scene: Scene) -> None:
    scene.secondary.consistent = None
    facts = scene.facts()
    secondary_state(scene, facts).initial_copy = InitialCopy(state=CopyState.RUNNING, bytes_done=41, bytes_total=100)
    said = status(scene, facts)
    assert (said.verdict, said.state) == (Verdict.WARN, PairState.COPY)
    assert said.line == "db is copying 41 %, not yet protected: tokyo -> osaka, 59 B to copy"
    assert said.next_command == "pairvol pair wait db --state PAIR"
    assert said.sides[1].copy_percent == 41.0
    assert (said.lag_seconds, said.lag_bytes, said.sides[1].lag_seconds) == (None, None, None)


def test_a_copy_that_has_not_begun_claims_no_lag(scene: Scene) -> None:
    scene.writes(10)
    scene.copies(10)
    scene.primary.stop_and_start()
    said = status(scene)
    assert said.line == "db is copying 0 %, not yet protected: tokyo -> osaka"
    assert said.lag_seconds is None


def test_once_all_is_copied_what_is_missing_is_lag_again(scene: Scene) -> None:
    scene.writes(10)
    scene.copies(4)
    scene.secondary.consistent = 10
    said = status(scene)
    assert said.state is PairState.COPY
    assert said.lag_bytes == 6 * 8 * 512


def test_filling(scene: Scene) -> None:
    scene.writes(250)
    said = status(scene)
    assert (said.verdict, said.state) == (Verdict.WARN, PairState.PFUL)
    assert "db is protected, journal 83 % full" in said.line


def test_full(scene: Scene) -> None:
    scene.primary.suspended = True
    said = status(scene)
    assert (said.verdict, said.state) == (Verdict.CRIT, PairState.PFUS)
    assert said.line.startswith("db is not protected: the journal of tokyo was full")


def test_full_is_told_also_with_the_secondary_silent(scene: Scene) -> None:
    scene.primary.suspended, scene.primary.epoch = True, "e"
    facts = scene.facts()
    facts.not_heard(scene.instant, PeerError("gone"))
    said = status(scene, facts)
    assert (said.verdict, said.state) == (Verdict.CRIT, PairState.PFUS)
    assert said.line == (
        "db is not protected: the journal of tokyo was full, changes tracked (1 MiB); osaka unknown since "
        "22:15:00.0Z; "
        "resync begins by itself"
    )
    assert said.sides[1].state is None


@pytest.mark.parametrize("site", ["tokyo", "osaka"])
def test_stopped(scene: Scene, site: str) -> None:
    """What hosts write then is in no journal and no map."""
    scene.writes(5)
    scene.copies(5)
    scene.primary.suspended, scene.primary.acquisition = True, False
    said = status(scene, scene.facts(site))
    assert (said.verdict, said.state) == (Verdict.CRIT, PairState.PSUS)
    assert said.line == (
        "db is not protected: acquisition at tokyo is stopped, changes are not tracked; "
        "lag unknown, last restored 22:15:00.0Z; starting it copies everything"
    )
    assert said.next_command == "pairvol journal start db"
    assert (said.lag_seconds, said.lag_bytes, said.sides[1].lag_seconds, said.sides[1].lag_bytes) == (None,) * 4


def test_stopped_and_failed_claims_no_lag_either(scene: Scene) -> None:
    scene.primary.suspended, scene.primary.acquisition = True, False
    facts = scene.facts()
    secondary_state(scene, facts).failure = Failure(error="StorageError", message="no", hint="", time_ns=1)
    said = status(scene, facts)
    assert "; lag unknown, " in said.line
    assert said.lag_seconds is None


def test_stopped_and_the_secondary_silent(scene: Scene) -> None:
    scene.primary.suspended, scene.primary.acquisition = True, False
    said = status(scene, silenced(scene))
    assert (said.verdict, said.state) == (Verdict.CRIT, PairState.PSUE)
    assert said.line == (
        "db is not protected: osaka unknown since 22:15:00.0Z; acquisition is stopped, changes are not tracked"
    )


def silenced(scene: Scene) -> Facts:
    """Of tokyo, with osaka gone after it was heard."""
    facts = scene.facts()
    facts.not_heard(scene.instant, PeerError("gone", hint="Start it."))
    return facts


@pytest.mark.parametrize("mode", [SplitMode.READ, SplitMode.WRITE])
def test_a_split_pair_with_the_other_side_gone_is_an_error(scene: Scene, mode: SplitMode) -> None:
    scene.writes(5)
    scene.copies(5)
    scene.primary.suspended, scene.primary.epoch = True, "e"
    facts = scene.facts()
    assert facts.primary.state is not None
    facts.primary.state.suspended_cause = SuspendedCause.OPERATOR
    secondary_state(scene, facts).split = mode
    assert status(scene, facts).state is PairState.PSUS
    facts.not_heard(scene.instant, PeerError("gone", hint="Start it."))
    said = status(scene, facts)
    assert (said.verdict, said.state, said.next_command) == (Verdict.CRIT, PairState.PSUE, "pairvol check")
    assert said.line == (
        "db is not protected: osaka unknown since 22:15:00.0Z; it was split by an operator, changes tracked (1 MiB)"
    )


def test_a_new_primary_whose_other_side_is_gone_is_not_copying(scene: Scene) -> None:
    scene.primary.suspended, scene.primary.epoch = True, "e"
    facts = scene.facts()
    assert facts.primary.state is not None
    facts.primary.state.suspended_cause = SuspendedCause.TAKEOVER
    secondary_state(scene, facts).initial_copy = InitialCopy(state=CopyState.RUNNING, bytes_done=41, bytes_total=100)
    assert status(scene, facts).state is PairState.COPY
    facts.not_heard(scene.instant, PeerError("gone"))
    said = status(scene, facts)
    assert (said.verdict, said.state) == (Verdict.CRIT, PairState.PSUE)
    assert "41 %" not in said.line


def test_of_a_silent_secondary_no_last_known_value_is_told(scene: Scene) -> None:
    scene.writes(5)
    scene.copies(5)
    facts = scene.facts()
    state = secondary_state(scene, facts)
    state.compression, state.transfer_bytes, state.wire_bytes = Compression.ZSTD, 30, 10
    said = status(scene, facts)
    assert (said.compression_now, said.transfer_bytes, said.wire_bytes) == (Compression.ZSTD, 30, 10)
    assert said.last_restored_ns is not None
    facts.not_heard(scene.instant, PeerError("gone"))
    said = status(scene, facts)
    assert (said.compression_now, said.transfer_bytes, said.wire_bytes, said.last_restored_ns) == (None,) * 4


def test_what_a_silent_secondary_confirmed_is_the_primarys_own_knowledge(scene: Scene) -> None:
    scene.writes(5)
    scene.copies(5)
    scene.primary.confirmed = 5
    scene.now += 20
    scene.writes(10)
    said = status(scene, silenced(scene))
    assert said.line == (
        "db is not protected: osaka unknown since 22:15:20.0Z; osaka confirmed journals up to 22:15:00.0Z, "
        "40 KiB came since; journal 3 % full"
    )


def test_what_a_disk_refuses_of_the_orders_of_an_agent_is_told_by_both(scene: Scene) -> None:
    scene.writes(1)
    scene.copies(1)
    osaka, tokyo = scene.facts("osaka"), scene.facts()
    order = OrderCopy.__new__(OrderCopy)
    for error, told in (
        (ConflictError("busy"), None),  # settles between two orders
        (DiskFullError("cannot write copy.json", hint="Free it."), "osaka: cannot write copy.json"),
        (None, None),
    ):
        osaka.noted(scene.instant, order, error or scene.secondary.state(scene.now))
        tokyo.heard(scene.instant, message(osaka))
        said = status(scene, tokyo)
        assert (said.state is PairState.PSUE, said.cause) == (told is not None, told), said
    osaka.noted(scene.instant, order, DiskFullError("cannot write copy.json"))
    tokyo.heard(scene.instant, message(osaka))
    tokyo.turn(tokyo.pair.model_copy(update={"turns": 1}))
    assert tokyo.peer_refusal is None


def test_the_forecast_stays_while_the_secondary_is_gone(scene: Scene) -> None:
    """The journal fills because of that."""
    scene.writes(250)
    facts = silenced(scene)
    assert facts.primary.state is not None
    facts.primary.state.seconds_to_full = 90.0
    said = status(scene, facts)
    assert said.line == ("db is not protected: osaka unknown since 22:15:00.0Z; journal 83 % full, full in 1 min 30 s")
    assert said.seconds_to_full == 90.0


def test_a_journal_that_just_begins_to_fill_is_not_called_empty(scene: Scene) -> None:
    scene.writes(1)
    facts = silenced(scene)
    assert facts.primary.state is not None
    facts.primary.state.seconds_to_full = 7200.0
    assert status(scene, facts).line.endswith("; journal <1 % full, full in 2 h")


def test_the_forecast_stays_while_the_link_is_down(scene: Scene) -> None:
    scene.writes(250)
    facts = scene.facts()
    state = secondary_state(scene, facts)
    state.link_ok, state.link_silent_seconds = False, 10.0
    assert facts.primary.state is not None
    facts.primary.state.seconds_to_full = 90.0
    said = status(scene, facts)
    assert said.state is PairState.PSUE
    assert said.line.endswith("; journal 83 % full, full in 1 min 30 s")
    assert said.seconds_to_full == 90.0


def test_there_is_no_forecast_of_a_primary_that_is_gone_or_writes_no_journal(scene: Scene) -> None:
    facts = scene.facts("osaka")
    assert facts.primary.state is not None
    facts.primary.state.seconds_to_full = 90.0
    assert status(scene, facts).seconds_to_full == 90.0
    facts.not_heard(scene.instant, PeerError("gone"))
    assert status(scene, facts).seconds_to_full is None
    scene.primary.suspended, scene.primary.epoch = True, "e"
    facts = scene.facts()
    assert facts.primary.state is not None
    facts.primary.state.seconds_to_full = 0.0
    assert status(scene, facts).seconds_to_full is None


def alone(scene: Scene, change: Callable[[JournalState], None]) -> PairStatus:
    """What osaka says when tokyo is gone and its own side is so."""
    facts = scene.facts("osaka")
    change(secondary_state(scene, facts))
    facts.not_heard(scene.instant, PeerError("gone"))
    return status(scene, facts)


def test_a_takeover_that_is_refused_is_not_the_next_command(scene: Scene) -> None:
    def copying(state: JournalState) -> None:
        state.consistent_sequence, state.initial_copy = None, InitialCopy(state=CopyState.RUNNING)

    said = alone(scene, copying)
    assert said.line.endswith("tokyo unknown since 22:15:00.0Z; osaka has no whole copy to take over")
    assert said.next_command == "pairvol check"


def test_a_takeover_in_the_middle_of_a_resync_says_where_it_goes(scene: Scene) -> None:
    def resyncing(state: JournalState) -> None:
        state.consistent_sequence, state.initial_copy = None, InitialCopy(state=CopyState.RUNNING, epoch="e")
        state.safe_point = SafePoint(open=True, sequence=9, time_ns=state.time_ns - 5 * 10**9)

    said = alone(scene, resyncing)
    assert said.line.endswith("; a takeover goes back to 22:14:55.0Z")
    assert said.next_command == "pairvol pair takeover db --force"


def test_a_takeover_of_volumes_that_hosts_write_or_that_drops_journals_needs_force(scene: Scene) -> None:
    def split(state: JournalState) -> None:
        state.split = SplitMode.WRITE

    def waiting(state: JournalState) -> None:
        state.waiting_epoch = "e"

    for change in (split, waiting):
        assert alone(scene, change).next_command == "pairvol pair takeover db --force"
    assert alone(scene, lambda state: None).next_command == "pairvol pair takeover db"


def test_a_takeover_soon_after_another_names_its_site(scene: Scene) -> None:
    """Without the name it would be refused: it may be the one that was just given."""
    scene.pair = scene.pair.model_copy(update={"handed_ns": scene.instant.wall_ns - 20 * 10**9})
    assert alone(scene, lambda state: None).next_command == "pairvol pair takeover db --to osaka"
    scene.pair = scene.pair.model_copy(update={"handed_ns": scene.instant.wall_ns - 60 * 10**9})
    assert alone(scene, lambda state: None).next_command == "pairvol pair takeover db"


def test_a_primary_whose_agent_answers_is_not_taken_over_in_passing(scene: Scene) -> None:
    """Hosts may be writing there; the command would be refused."""
    facts = scene.facts("osaka")
    facts.heard(scene.instant, ExchangeAnswer(site="tokyo", pair=scene.pair, state=None))
    said = status(scene, facts)
    assert said.line.startswith("db is not protected: storage controller of tokyo unknown since 22:15:00.0Z")
    assert said.next_command == "pairvol check"


def test_a_difference_that_is_known_is_critical_also_while_the_journal_fills(scene: Scene) -> None:
    scene.writes(250)
    facts = scene.facts()
    secondary_state(scene, facts).verify = VerifyState(
        task="t", run="t.0", kind=RunKind.VERIFY, ended=True, different=[(0, 0, 65536, 44)], different_bytes=65536
    )
    said = status(scene, facts)
    assert (said.verdict, said.state) == (Verdict.CRIT, PairState.PFUL)
    assert said.line.startswith("db is not whole, journal 83 % full: tokyo -> osaka, lag ")
    assert said.cause == "a verify found 64 KiB different at osaka"
    assert said.next_command == "pairvol pair verify db --repair"


def test_a_silent_secondary_is_unknown_since_then(scene: Scene) -> None:
    scene.writes(5)
    scene.copies(5)
    facts = scene.facts()
    scene.now += 3
    facts.own_state(scene.instant, scene.primary.state(scene.now))
    assert status(scene, facts).verdict is Verdict.OK
    facts.not_heard(scene.instant, PeerError("host agent of osaka is unreachable", hint="Start it."))
    said = status(scene, facts)
    assert (said.verdict, said.state) == (Verdict.CRIT, PairState.PSUE)
    assert said.line == "db is not protected: osaka unknown since 22:15:00.0Z; journal 1 % full"
    assert said.cause == "host agent of osaka is unreachable"
    assert said.lag_seconds is None
    assert said.lag_bytes is None
    far = said.sides[1]
    assert (far.state, far.sequence, far.lag_seconds, far.journal_percent) == (None, None, None, None)
    assert far.unknown_since_ns == said.last_contact_ns
    assert said.sides[0].sequence == 5


def test_a_side_is_unknown_since_its_controller_was_heard(scene: Scene) -> None:
    """Its agent went on answering, and fell silent later."""
    facts = scene.facts()
    scene.now += 10
    facts.own_state(scene.instant, scene.primary.state(scene.now))
    facts.heard(scene.instant, ExchangeAnswer(site="osaka", pair=scene.pair, state=None))
    facts.not_heard(scene.instant, PeerError("host agent of osaka is unreachable", hint="Start it."))
    assert status(scene, facts).line.startswith("db is not protected: osaka unknown since 22:15:00.0Z")


def test_silence_alone_makes_a_side_unknown_within_five_seconds(scene: Scene) -> None:
    facts = scene.facts("osaka")
    scene.now += 4.6
    facts.own_state(scene.instant, scene.secondary.state(scene.now))
    said = status(scene, facts)
    assert said.line.startswith("db is not protected: tokyo unknown since 22:15:00.0Z")
    assert said.next_command == "pairvol pair takeover db"
    assert said.sides[0].state is None


def test_a_controller_that_does_not_answer_its_agent_is_named(scene: Scene) -> None:
    facts = scene.facts()
    facts.own_failed(scene.instant, PeerError("the storage controller is unreachable"))
    said = status(scene, facts)
    assert said.verdict is Verdict.CRIT
    assert said.line == "db is not protected: storage controller of tokyo unknown since 22:15:00.0Z"


def test_a_failed_side_is_named_with_its_cause(scene: Scene) -> None:
    facts = scene.facts()
    secondary_state(scene, facts).failure = Failure(
        error="IntegrityError", message="journal 7 of db fails its checksum", hint="Look at the disk.", time_ns=1
    )
    said = status(scene, facts)
    assert (said.verdict, said.state) == (Verdict.CRIT, PairState.PSUE)
    assert said.line == (
        "db is not protected: osaka: journal 7 of db fails its checksum; lag 0.0 s (0 B), nothing written yet"
    )
    assert said.next_command == "Look at the disk."


def test_a_disk_that_refused_restore_is_gone_on_with_by_two_commands(scene: Scene) -> None:
    facts = scene.facts()
    secondary_state(scene, facts).failure = Failure(
        error="StorageError", message="SVOL /srv/data: no space left on device", hint="Look at the disk.", time_ns=1
    )
    assert status(scene, facts).next_command == (
        'Mend that disk, then "pairvol journal copy db" and "pairvol journal restore db"; the journals are kept.'
    )


def test_half_a_pair_says_how_to_end_it(scene: Scene) -> None:
    facts = scene.facts()
    facts.peer_lacks_pair = True
    said = status(scene, facts)
    assert said.line == "db is not protected: osaka knows no pair db"
    assert said.next_command is not None
    assert "pairvol pair delete db --force" in said.next_command


def over(scene: Scene) -> Facts:
    """Taken over with 6 of 10 journals at the new primary; the old one answers."""
    scene.writes(10)
    scene.copies(6)
    scene.secondary.take_over(2)
    scene.pair = Pair(**scene.pair.model_dump() | {"generation": 2, "taken_over": True})
    return scene.facts("osaka")


def test_taken_over_and_the_old_primary_not_fenced_is_critical(scene: Scene) -> None:
    said = status(scene, over(scene))
    assert (said.verdict, said.state, said.generation) == (Verdict.CRIT, PairState.SSWS, 2)
    assert "tokyo is not fenced yet" in said.line


def test_taken_over_counts_what_never_arrived(scene: Scene) -> None:
    facts = over(scene)
    scene.primary.role = Role.FENCED
    scene.look(facts)
    said = status(scene, facts)
    assert said.verdict is Verdict.CRIT
    assert said.line == (
        "db is taken over: osaka serves it as primary, generation 2; "
        "tokyo is fenced and keeps 4 journals (16 KiB) that never reached osaka"
    )


def test_taken_over_with_the_old_primary_dead(scene: Scene) -> None:
    facts = over(scene)
    facts.not_heard(scene.instant, PeerError("gone"))
    said = status(scene, facts)
    assert (said.verdict, said.state) == (Verdict.WARN, PairState.SSWS)
    assert said.line.endswith("generation 2; tokyo unknown since 22:15:00.0Z, take it back when it answers")
    assert said.next_command == "pairvol pair resync db --swap"


def test_a_primary_that_refuses_writes_for_a_planned_takeover_is_a_fault_when_that_lasts(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.writes(1)
    scene.copies(1)
    facts = scene.facts()

    plain = scene.primary.state

    def refuses(*, writes: bool) -> PairStatus:
        def told(now: float) -> JournalState:
            state = plain(now)
            state.quiesced = writes
            return state

        monkeypatch.setattr(scene.primary, "state", told)
        scene.look(facts)
        return status(scene, facts)

    assert refuses(writes=True).state is PairState.PAIR  # a takeover goes on
    scene.now += 2.5
    assert refuses(writes=True).state is PairState.PAIR
    assert refuses(writes=False).state is PairState.PAIR
    assert refuses(writes=True).state is PairState.PAIR  # another one
    scene.now += 3.5
    said = refuses(writes=True)
    assert (said.verdict, said.state) == (Verdict.CRIT, PairState.PSUE)
    assert "tokyo refuses writes for a planned takeover that was not ended" in said.line
    assert refuses(writes=False).state is PairState.PAIR


@pytest.mark.parametrize(("quiesced", "planned", "divided"), [(False, None, 2), (True, None, 0), (False, 2, 0)])
def test_two_primaries_are_told_of_where_the_old_one_took_writes_beside_the_new_one(
    scene: Scene, quiesced: bool, planned: int | None, divided: int
) -> None:
    """Not where it refuses them, nor where it is only known from before a takeover that it refused them for."""
    facts = scene.facts()
    old = scene.primary.state(scene.now)
    old.serving, old.quiesced = True, quiesced
    facts.own_state(scene.instant, old)
    scene.now += 1
    new = scene.secondary.state(scene.now)
    new.role, new.generation = Role.TAKEN_OVER, 2
    pair = facts.pair.model_copy(update={"taken_over": True, "generation": 2, "planned_generation": planned})
    facts.heard(scene.instant, ExchangeAnswer(site="osaka", pair=pair, state=new))
    assert facts.divided_generation == divided
