"""The first line in every state, asked at both sites: verdict, words, cause, next command, lag, last success."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from controller.api.models import (
    AcquisitionMode,
    CopyState,
    Failure,
    InitialCopy,
    OnFull,
    Role,
    SafePoint,
    SplitMode,
    SuspendedCause,
)
from controller.errors import PeerError
from hostagent.api.models import Pair, PairState, PairStatus, Verdict
from hostagent.cli.output import unstyled
from hostagent.cli.pair_view import first_line
from hostagent.config import CopySettings
from hostagent.copy_manager.facts import Facts
from hostagent.status import pair_status
from tests.unit.hostagent.conftest import Scene

MIB = 1 << 20
LAG = re.compile(r"lag \d+(\.\d)? (s|min|h)[^(]*\(\d[^)]*B\)")
LAST = re.compile(r"last restored \d\d:\d\d:\d\d\.\dZ|nothing written yet")

Change = Callable[[Scene, Facts], None]


def told(scene: Scene, change: Change, site: str) -> PairStatus:
    facts = scene.facts(site)
    change(scene, facts)
    return pair_status(facts, scene.instant, CopySettings())


def nothing(scene: Scene, facts: Facts) -> None:
    pass


def copying(scene: Scene, facts: Facts) -> None:
    state = facts.secondary.state
    assert state is not None
    state.initial_copy, state.consistent_sequence = (
        InitialCopy(state=CopyState.RUNNING, bytes_done=41, bytes_total=100),
        None,
    )


def suspended(scene: Scene, facts: Facts, cause: SuspendedCause = SuspendedCause.FULL) -> None:
    state = facts.primary.state
    assert state is not None
    state.mode, state.epoch, state.dirty_bytes = AcquisitionMode.SUSPENDED, "e", MIB
    state.suspended_cause = cause


def broken_disk(scene: Scene, facts: Facts) -> None:
    suspended(scene, facts, SuspendedCause.ERROR)


def split(scene: Scene, facts: Facts) -> None:
    suspended(scene, facts, SuspendedCause.OPERATOR)
    assert facts.secondary.state is not None
    facts.secondary.state.split = SplitMode.WRITE


def resyncing(scene: Scene, facts: Facts) -> None:
    suspended(scene, facts)
    assert facts.primary.state is not None
    assert facts.secondary.state is not None
    facts.primary.state.mode, facts.primary.state.changes_final = AcquisitionMode.JOURNAL, True
    facts.secondary.state.safe_point = SafePoint(open=True, sequence=9, time_ns=facts.secondary.state.time_ns)


def drilling(scene: Scene, facts: Facts) -> None:
    assert facts.secondary.state is not None
    facts.secondary.state.drills = 2


def full(scene: Scene, facts: Facts) -> None:
    scene.writes(260)
    scene.look(facts)


def full_beyond(scene: Scene, facts: Facts) -> None:
    assert facts.secondary.state is not None
    facts.secondary.state.fill_percent = 97.5


def damaged(scene: Scene, facts: Facts) -> None:
    assert facts.secondary.state is not None
    facts.secondary.state.failure = Failure(
        error="IntegrityError", message="journal 7 of db fails its checksum", hint="Look at the disk.", time_ns=1
    )


def cut(scene: Scene, facts: Facts) -> None:
    state = facts.secondary.state
    assert state is not None
    state.link_ok, state.link_silent_seconds = False, 10.0
    state.link_contact_ns = state.time_ns + 3600 * 10**9  # the clock was set back since


def cut_before(scene: Scene, facts: Facts) -> None:
    """As a controller tells it that does not say for how long."""
    state = facts.secondary.state
    assert state is not None
    state.link_ok, state.link_silent_seconds = False, None
    state.link_contact_ns = state.time_ns - 10 * 10**9


def silent(scene: Scene, facts: Facts) -> None:
    facts.not_heard(scene.instant, PeerError("the host agent does not answer", hint="Start it."))


def halved(scene: Scene, facts: Facts) -> None:
    facts.own_failed(scene.instant, PeerError("the controller is not reachable", hint="Start it."))


def taken(scene: Scene, facts: Facts) -> None:
    scene.secondary.take_over(2)
    scene.pair = Pair(**scene.pair.model_dump() | {"generation": 2, "taken_over": True})
    scene.primary.role = Role.FENCED
    facts.turn(scene.pair)
    scene.look(facts)


def throttled(scene: Scene, facts: Facts) -> None:
    full(scene, facts)
    assert facts.primary.state is not None
    facts.primary.state.on_full = OnFull.THROTTLE


def limited(scene: Scene, facts: Facts) -> None:
    full(scene, facts)
    assert facts.secondary.state is not None
    facts.secondary.state.limit_holds_back = True
    policy = facts.pair.policy.model_copy(update={"limit_bytes_per_second": MIB})
    facts.pair = facts.pair.model_copy(update={"policy": policy})


def suspended_by_damage(scene: Scene, facts: Facts) -> None:
    suspended(scene, facts)
    damaged(scene, facts)


FOLLOWING = [
    (nothing, Verdict.OK, PairState.PAIR, "db is protected: tokyo -> osaka, "),
    (drilling, Verdict.OK, PairState.PAIR, "restore waits for 2 open drills"),
    (full, Verdict.WARN, PairState.PFUL, "db is protected, journal "),
    (throttled, Verdict.WARN, PairState.PFUL, ", writes slow down: tokyo -> osaka"),
    (limited, Verdict.WARN, PairState.PFUL, "; tokyo writes more than the limit of 1 MiB/s lets over; next: pairvol"),
    (suspended_by_damage, Verdict.CRIT, PairState.PFUS, "was full, and osaka: journal 7 of db fails its checksum"),
    (full_beyond, Verdict.WARN, PairState.PFUL, "db is protected, journal of osaka 97 % full"),
    (suspended, Verdict.CRIT, PairState.PFUS, "db is not protected: the journal of tokyo was full"),
    (split, Verdict.WARN, PairState.PSUS, "changes tracked (1 MiB); osaka is writable"),
    (broken_disk, Verdict.CRIT, PairState.PSUE, "the disk of the journal of tokyo refused"),
    (damaged, Verdict.CRIT, PairState.PSUE, "osaka: journal 7 of db fails its checksum"),
    (cut, Verdict.CRIT, PairState.PSUE, "osaka cannot read the journal of tokyo"),
    (cut_before, Verdict.CRIT, PairState.PSUE, "osaka cannot read the journal of tokyo"),
]


@pytest.mark.parametrize("site", ["tokyo", "osaka"])
@pytest.mark.parametrize(("change", "verdict", "state", "words"), FOLLOWING)
def test_a_secondary_that_is_heard_has_a_lag_in_seconds_and_bytes_and_a_last_success(
    scene: Scene, change: Change, verdict: Verdict, state: PairState, words: str, site: str
) -> None:
    scene.writes(20)
    scene.copies(15)
    status = told(scene, change, site)
    line = unstyled(first_line(status))
    assert line.startswith(f"{verdict:<6}db is ")
    assert (status.verdict, status.state, status.number) == (verdict, state, state.number)
    assert words in line
    assert LAG.search(line), line
    assert LAST.search(line), line
    assert status.lag_seconds is not None
    assert status.lag_bytes is not None
    if verdict is not Verdict.OK:
        assert status.cause
        assert status.next_command
        assert line.endswith(f"; next: {status.next_command}")


@pytest.mark.parametrize("site", ["tokyo", "osaka"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (copying, "db is copying 41 %, not yet protected: tokyo -> osaka, 59 B to copy"),
        (resyncing, "; a takeover now goes back to 22:15:00.0Z"),
    ],
)
def test_while_it_copies(scene: Scene, change: Change, words: str, site: str) -> None:
    status = told(scene, change, site)
    assert (status.verdict, status.state) == (Verdict.WARN, PairState.COPY)
    assert words in status.line
    assert status.next_command == "pairvol pair wait db --state PAIR"


@pytest.mark.parametrize("site", ["tokyo", "osaka"])
@pytest.mark.parametrize("change", [copying, resyncing])
def test_a_copy_that_a_drill_holds_up_names_the_drill_and_its_end(scene: Scene, change: Change, site: str) -> None:
    def held(scene: Scene, facts: Facts) -> None:
        change(scene, facts)
        drilling(scene, facts)

    status = told(scene, held, site)
    assert (status.verdict, status.state) == (Verdict.WARN, PairState.COPY)
    assert status.line.endswith("; the copy waits for 2 open drills")
    assert status.next_command == "pairvol drill stop db"


@pytest.mark.parametrize("site", ["tokyo", "osaka"])
@pytest.mark.parametrize("change", [silent, halved])
def test_of_a_side_that_is_unknown_no_figure_is_told(scene: Scene, change: Change, site: str) -> None:
    scene.writes(20)
    scene.copies(20)
    status = told(scene, change, site)
    lost = [side for side in status.sides if side.state is None]
    assert [side.site for side in lost] == [{"tokyo": "osaka", "osaka": "tokyo"}[site] if change is silent else site]
    assert f"{lost[0].site} unknown since 22:15:00.0Z" in status.line
    assert (status.lag_seconds, status.lag_bytes, lost[0].sequence, lost[0].journal_percent) == (None,) * 4
    commands = {"pairvol check", "pairvol pair takeover db"}
    assert status.next_command in commands
    assert (status.next_command == "pairvol pair takeover db") is (change is silent and site == "osaka")


@pytest.mark.parametrize("site", ["tokyo", "osaka"])
def test_taken_over(scene: Scene, site: str) -> None:
    scene.writes(20)
    scene.copies(15)
    status = told(scene, taken, site)
    assert (status.verdict, status.state) == (Verdict.CRIT, PairState.SSWS)
    assert "tokyo is fenced and keeps 5 journals (20 KiB) that never reached osaka" in status.line
    assert status.next_command == "pairvol pair resync db --swap --force"
    assert (status.lag_seconds, status.lag_bytes) == (None, None)


def test_what_changes_without_journals_is_lag_until_it_is_brought_over(scene: Scene) -> None:
    scene.writes(20)
    scene.copies(20)
    facts = scene.facts("osaka")
    scene.primary.suspended, scene.primary.epoch = True, "e"
    for _ in range(3):
        scene.now += 20
        scene.look(facts)
    status = pair_status(facts, scene.instant, CopySettings())
    assert (status.lag_seconds, status.lag_bytes) == (60.0, MIB)
    scene.primary.suspended, scene.primary.final = False, True
    scene.now += 5
    scene.look(facts)
    assert pair_status(facts, scene.instant, CopySettings()).lag_seconds == 65.0
    scene.primary.epoch = None
    scene.look(facts)
    status = pair_status(facts, scene.instant, CopySettings())
    assert (status.lag_seconds, status.lag_bytes) == (0.0, 0)
