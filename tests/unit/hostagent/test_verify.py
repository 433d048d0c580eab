"""Which run follows which, and what is said of a verify: from what two controllers say, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from controller.api.models import CopyState, InitialCopy, JournalState
from controller.api.runs import Found, Range, RunKind, RunOrder, RunPhase, RunState, VerifyState
from controller.errors import ConflictError, PeerError
from hostagent.api.models import PairPolicy, PairState, Verdict
from hostagent.api.verify import VerifyPhase, VerifyReport
from hostagent.commands.verify import report_of, unknown
from hostagent.config import CopySettings
from hostagent.copy_manager.actions import OrderRun
from hostagent.copy_manager.observe import unknown_since
from hostagent.copy_manager.pace import Pace
from hostagent.life.inband import ROUNDS_MAX, following, initial, of_primary
from hostagent.life.resync import restore_goal
from hostagent.pairs import PairEvent, next_state
from hostagent.status import pair_status
from tests.simulation.timeline import wall
from tests.unit.hostagent.conftest import Scene

MIB = 1 << 20


def run(**changes: Any) -> RunState:
    values: dict[str, Any] = {
        "run": "t.0", "task": "t", "kind": RunKind.VERIFY, "phase": RunPhase.DONE,
        "bytes_done": 8 * MIB, "bytes_total": 8 * MIB, "started_ns": 1,
    }  # fmt: skip
    return RunState(**(values | changes))


def found(**changes: Any) -> VerifyState:
    values: dict[str, Any] = {
        "task": "t", "run": "t.0", "kind": RunKind.VERIFY, "ended": True, "sequence": 50,
        "bytes_done": 8 * MIB, "bytes_total": 8 * MIB, "bytes_verified": 8 * MIB,
    }  # fmt: skip
    return VerifyState(**(values | changes))


HERE = [Found(1, 65536, 65536, 44)]
PLACE = [Range(1, 65536, 65536)]


def test_nothing_follows_what_is_the_same_or_not_at_its_end() -> None:
    assert following(run(), found()) is None
    assert following(run(phase=RunPhase.RUNNING), found(ended=False, unsure=HERE)) is None
    assert following(run(), found(ended=False, unsure=HERE)) is None
    assert following(run(run="t.1"), found(unsure=HERE)) is None, "the secondary is behind"
    assert following(run(kind=RunKind.BASE), found(unsure=HERE)) is None
    assert following(None, None) is None


def test_unsure_ranges_are_verified_again() -> None:
    order = following(run(), found(unsure=HERE))
    assert order == RunOrder(run="t.1", kind=RunKind.VERIFY, task="t", ranges=PLACE, round=1)


def test_different_ranges_are_repaired_when_that_was_asked_for() -> None:
    assert following(run(), found(different=HERE)) is None
    order = following(run(repair=True, round=2), found(different=HERE))
    assert order == RunOrder(run="t.3", kind=RunKind.REPAIR, task="t", ranges=PLACE, repair=True, round=3)
    again = following(run(kind=RunKind.REPAIR, repair=True), found(kind=RunKind.REPAIR, different=HERE))
    assert again is not None
    assert again.kind is RunKind.REPAIR
    assert following(run(repair=True, round=ROUNDS_MAX), found(different=HERE)) is None


def states(scene: Scene, run: RunState | None, verify: VerifyState | None) -> tuple[JournalState, JournalState]:
    primary = scene.primary.state(scene.now).model_copy(update={"run": run})
    return primary, scene.secondary.state(scene.now).model_copy(update={"verify": verify})


def waiting(scene: Scene, run: RunState | None) -> tuple[JournalState, JournalState]:
    primary, secondary = states(scene, run, None)
    copy = InitialCopy(state=CopyState.RUNNING, method="base", run="initial-1")
    return primary, secondary.model_copy(update={"initial_copy": copy})


@pytest.mark.parametrize(
    ("present", "wanted"),
    [
        (None, True),
        (run(), True),
        (run(run="initial-1", phase=RunPhase.RUNNING), False),
        (run(run="initial-1", phase=RunPhase.DONE), False),
        (run(run="initial-1", phase=RunPhase.FAILED), True),
    ],
)
def test_the_run_that_an_initial_copy_waits_for_is_ordered(scene: Scene, present: RunState, wanted: bool) -> None:
    order = initial(*waiting(scene, present))
    assert order == (RunOrder(run="initial-1", kind=RunKind.BASE, replace=True) if wanted else None)


def test_the_manager_orders_it_once_in_a_while(scene: Scene) -> None:
    facts, pace = scene.facts(), Pace()
    state, facts.peer.state = waiting(scene, None)
    pace.begin(scene.now)
    assert [type(each) for each in of_primary(facts, state, pace)] == [OrderRun]
    assert of_primary(facts, state, pace) == [], "it is under way"


@pytest.mark.parametrize("state", [PairState.COPY, PairState.PSUS, PairState.PFUS, PairState.PSUE, PairState.SSWS])
def test_only_pairs_in_step_are_verified(state: PairState) -> None:
    with pytest.raises(ConflictError) as caught:
        next_state(state, PairEvent.VERIFY, "db")
    assert caught.value.message == f"cannot verify db: it is {state}"
    assert "pairvol pair" in caught.value.hint


def test_a_volume_is_named_by_its_lasting_number(scene: Scene) -> None:
    """A volume that has left keeps its number: those behind it are not counted anew."""
    primary, secondary = states(scene, run(), found(different=HERE, different_bytes=65536))
    pair = scene.facts("tokyo").pair
    [different] = report_of(pair, primary, secondary, [1, 2]).different
    assert different.volume == pair.primary.volumes[0]


@pytest.mark.parametrize(
    ("run", "found", "phase", "verdict", "words"),
    [
        (None, None, "none", "WARN", "was never verified"),
        (run(), found(), "done", "OK", "db is identical: 8 MiB compared, up to journal 50"),
        (run(), found(repaired_bytes=65536), "done", "OK", "64 KiB of it repaired"),
        (run(), found(different=HERE, different_bytes=65536), "done", "CRIT",
         "db differs in 64 KiB of 8 MiB: log at 65536+65536 (journal 44)"),
        (run(phase=RunPhase.RUNNING), found(ended=False, bytes_done=MIB), "running", "WARN", "verifying db 12 %"),
        (run(), found(ended=False, bytes_done=2 * MIB), "running", "WARN", "verifying db 25 %"),
        (run(), found(unsure=HERE), "running", "WARN", "verifying db"),
        (run(run="t.1", round=1, kind=RunKind.REPAIR, phase=RunPhase.RUNNING), found(), "running", "WARN", "repairing"),
        (run(run="t.1", round=1, phase=RunPhase.RUNNING), found(), "running", "WARN", "verifying again db 0 %"),
        (run(round=ROUNDS_MAX), found(unsure=HERE, unsure_bytes=65536), "interrupted", "WARN", "could not be compared"),
        (run(phase=RunPhase.INTERRUPTED), found(ended=False), "interrupted", "WARN", "was interrupted"),
        (run(kind=RunKind.BASE), found(ended=False), "interrupted", "WARN", "was interrupted"),
        (run(kind=RunKind.BASE), found(), "done", "OK", "is identical"),
        (run(run="u.0", task="u", phase=RunPhase.RUNNING), found(), "running", "WARN", "verifying db 0 %"),
    ],
)  # fmt: skip
def test_reports(
    scene: Scene, run: RunState | None, found: VerifyState | None, phase: str, verdict: str, words: str
) -> None:
    report = report_of(scene.pair, *states(scene, run, found))
    assert (report.phase, report.verdict) == (phase, verdict)
    assert words in report.line
    assert (report.next_command is None) == (verdict == "OK")


@pytest.mark.parametrize(
    ("restore", "drills", "phase", "waits", "command"),
    [
        ("later", 0, "held", "restore is on command", "pairvol journal restore db --to 3"),
        ("later", 1, "held", "a drill holds restore", "pairvol drill stop db"),
        ("at_once", 1, "held", "a drill holds restore", "pairvol drill stop db"),
        ("at_once", 0, "running", None, "pairvol pair verify db"),
    ],
)
def test_what_only_an_operator_moves_is_said_once_all_digests_are_there(
    scene: Scene, restore: str, drills: int, phase: str, waits: str | None, command: str
) -> None:
    scene.writes(5)
    scene.secondary.read = 3
    pair = scene.pair.model_copy(update={"policy": PairPolicy(restore=restore)})

    def told(**changes: Any) -> VerifyReport:
        primary, secondary = states(scene, run(**changes), None)
        return report_of(pair, primary, secondary.model_copy(update={"drills": drills}))

    report = told(end_sequence=3)
    assert (report.phase, report.verdict, report.waits, report.next_command) == (phase, Verdict.WARN, waits, command)
    assert ("waits at journal 3" in report.line) == (phase == "held")
    for early in (told(end_sequence=4), told(phase=RunPhase.RUNNING)):
        assert (early.phase, early.waits) == (VerifyPhase.RUNNING, waits)


def test_a_side_that_does_not_answer_is_unknown(scene: Scene) -> None:
    facts = scene.facts()
    scene.now += 3
    since = unknown_since(facts, "osaka", scene.instant, CopySettings())  # before status calls it unknown
    facts.not_heard(scene.instant, PeerError("gone"))
    assert since == unknown_since(facts, "osaka", scene.instant, CopySettings()) == wall(scene.now - 3)
    report = unknown(scene.pair, "osaka", since, scene.instant)
    assert (report.phase, report.verdict) == (VerifyPhase.UNKNOWN, Verdict.WARN)
    assert report.line == "db cannot be verified: osaka unknown since 22:15:00.0Z"
    assert report.unknown_since_ns == since


def test_restore_on_command_does_not_hold_a_copy_by_journals(scene: Scene) -> None:
    """Its volumes are no state of the primary before the end, and journals shorter than they would fill up."""
    scene.writes(5)
    scene.copies(3)
    facts = scene.facts("osaka")
    _, state = waiting(scene, None)
    assert restore_goal(facts, state) == 3
    assert restore_goal(facts, scene.secondary.state(scene.now)) is None


def test_a_pair_that_is_known_to_differ_is_not_called_protected(scene: Scene) -> None:
    facts = scene.facts()
    _, facts.peer.state = states(scene, run(), found(different=HERE, different_bytes=65536))
    status = pair_status(facts, scene.instant, CopySettings())
    assert (status.state, status.verdict) == (PairState.PAIR, Verdict.CRIT)
    assert status.cause == "a verify found 64 KiB different at osaka"
    assert status.next_command == "pairvol pair verify db --repair"
