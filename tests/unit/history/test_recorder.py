"""The ledger as an agent writes it, killed and ended in order at any moment, against what really was."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.api.models import InitialCopyMethod
from controller.errors import StorageError
from hostagent.api.history import TakeoverEntry
from hostagent.api.models import Pair, PairPolicy, PairState, SiteVolumes
from hostagent.copy_manager.lag import Lag
from hostagent.copy_manager.side import Instant
from hostagent.history import book, marks, recorder
from hostagent.history.book import Book
from hostagent.history.lines import LagLine, StateLine
from hostagent.history.recorder import History
from hostagent.history.report import Figures, figures
from tests.support.disks import directory_sync_fails, file_sync_fails

EPOCH_NS = 1_790_000_000_000_000_000
SECOND_NS = 1_000_000_000
BEHIND = Lag(2.5, 1 << 20, 7)
NONE = Lag(0.0, 0, 0)


class Agent:
    """A ledger and a clock; what a copy manager would tell, it is told."""

    def __init__(self, directory: Path, *, in_memory: bool = True) -> None:
        self.directory = directory
        self.seconds = 0.0
        self.in_memory = in_memory
        self.pair = Pair(
            group="db",
            uuid="u-1",
            generation=1,
            primary=SiteVolumes(site="tokyo", volumes=["data"]),
            secondary=SiteVolumes(site="osaka", volumes=["data"]),
            initial_copy=InitialCopyMethod.DIRECT,
            policy=PairPolicy(),
            created_ns=EPOCH_NS,
        )
        self.start()

    def start(self) -> None:
        self.history = History(self.directory / "history", self.directory / "run" if self.in_memory else None)

    def kill(self) -> None:
        """What is only in the process is lost."""
        self.start()

    def end(self) -> None:
        self.history.close()
        self.start()

    @property
    def now(self) -> Instant:
        return Instant(self.seconds, EPOCH_NS + round(self.seconds * SECOND_NS))

    def see(self, state: PairState, seconds: float, lag: Lag | None = NONE, beat: float = 1.0) -> None:
        """For so long, a look at each beat."""
        self.history.note(self.pair, state, lag, self.now)
        for _ in range(round(seconds / beat)):
            self.seconds += beat
            self.history.note(self.pair, state, lag, self.now)

    def away(self, seconds: float) -> None:
        self.seconds += seconds

    def figures(self, since: float = 0.0) -> Figures:
        lines, until = self.history.lines(self.pair)
        return figures(lines, EPOCH_NS + round(since * SECOND_NS), self.now.wall_ns, until)

    def times(self) -> dict[PairState, float]:
        return {each.state: each.seconds for each in self.figures().states}

    @property
    def file(self) -> Path:
        return self.directory / "history" / "db.jsonl"


@pytest.fixture(autouse=True)
def _marks_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the run directory were in memory."""
    monkeypatch.setattr(recorder, "in_memory", lambda directory: True)


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    return Agent(tmp_path)


def test_time_in_each_state_and_the_longest_without_protection(agent: Agent) -> None:
    agent.see(PairState.COPY, 30)
    agent.see(PairState.PAIR, 100)
    agent.see(PairState.PSUE, 20, None)
    agent.see(PairState.PFUS, 10, None)
    agent.see(PairState.PAIR, 40)
    found = agent.figures()
    assert agent.times() == {
        PairState.COPY: 30,
        PairState.PAIR: 140,
        PairState.PFUS: 10,
        PairState.PSUE: 20,
    }
    assert (found.recorded_seconds, found.protected_seconds, found.unprotected_seconds_max) == (200, 140, 30)
    assert [each.state for each in found.changes] == ["COPY", "PAIR", "PSUE", "PFUS", "PAIR"]
    assert [each.ended for each in found.changes] == [True, True, True, True, False]
    assert {state: seconds for _, state, seconds in agent.history.state_seconds()} == agent.times()


def test_percentiles_weigh_the_lag_by_time(agent: Agent) -> None:
    agent.see(PairState.PAIR, 940)
    agent.see(PairState.PAIR, 50, Lag(0.5, 4096, 1))
    agent.see(PairState.PAIR, 10, Lag(30.0, 1 << 30, 9))
    found = agent.figures()
    assert found.lag_seconds is not None
    assert found.lag_bytes is not None
    assert found.lag_seconds.p50 == 0.0
    assert found.lag_seconds.p95 == pytest.approx(0.5, rel=0.1)
    assert found.lag_seconds.p99 == pytest.approx(0.5, rel=0.1)
    assert found.lag_seconds.max == 30.0
    assert (found.lag_bytes.p50, found.lag_bytes.max) == (0.0, 1 << 30)


def test_a_lag_while_not_protected_is_no_sample(agent: Agent) -> None:
    agent.see(PairState.COPY, 100, BEHIND)
    assert agent.figures().lag_seconds is None


def test_an_idle_day_writes_nothing(agent: Agent) -> None:
    agent.see(PairState.PAIR, 10)
    before = agent.file.read_bytes()
    agent.see(PairState.PAIR, 86400, beat=10.0)
    assert agent.file.read_bytes() == before
    assert agent.times() == {PairState.PAIR: 86410}


def test_under_load_a_line_a_minute(agent: Agent) -> None:
    agent.see(PairState.PAIR, 600, BEHIND)
    lines = [line for line in Book(agent.file).lines() if isinstance(line, LagLine)]
    assert 9 <= len(lines) <= 11
    assert all(line.lag_seconds.max == 2.5 for line in lines)


def test_what_a_killed_agent_saw_counts_up_to_its_last_look_when_idle(agent: Agent) -> None:
    agent.see(PairState.PAIR, 5000)
    agent.kill()
    agent.away(3600)
    agent.see(PairState.PAIR, 100)
    assert agent.times() == {PairState.PAIR: 5100}


def test_of_a_busy_agent_a_kill_costs_the_minute_under_way(agent: Agent) -> None:
    agent.see(PairState.PAIR, 630, BEHIND)
    agent.kill()
    agent.away(3600)
    agent.see(PairState.PAIR, 100, BEHIND)
    found = agent.figures()
    minute = 60 - EPOCH_NS // SECOND_NS % 60 + 9 * 60  # the last that was over
    assert minute <= found.recorded_seconds - 100 <= minute + 1
    assert found.lag_seconds is not None
    assert found.lag_seconds.p50 == 2.5  # no second of it is taken for one without lag


def test_without_memory_a_kill_costs_what_no_line_tells_and_an_end_nothing(tmp_path: Path) -> None:
    agent = Agent(tmp_path, in_memory=False)
    agent.see(PairState.PAIR, 5000)
    agent.end()
    agent.away(50)
    agent.see(PairState.PAIR, 300)
    agent.kill()
    agent.away(50)
    agent.see(PairState.PAIR, 10)
    assert agent.times() == {PairState.PAIR: 5010}


def test_a_machine_that_slept_was_not_watched(agent: Agent) -> None:
    agent.see(PairState.PAIR, 100)
    agent.away(7200)
    agent.see(PairState.PAIR, 100)
    assert agent.times() == {PairState.PAIR: 200}


def test_figures_are_of_the_time_asked_for(agent: Agent) -> None:
    agent.see(PairState.PSUE, 100, None)
    agent.see(PairState.PAIR, 100)
    assert agent.figures(since=150).recorded_seconds == 50
    assert [(each.state, each.seconds) for each in agent.figures(since=50).states] == [("PAIR", 100), ("PSUE", 50)]


def test_another_pair_of_that_name_has_its_own_past(agent: Agent) -> None:
    agent.see(PairState.PSUE, 100, None)
    agent.pair = agent.pair.model_copy(update={"uuid": "u-2"})
    agent.see(PairState.PAIR, 10)
    assert agent.times() == {PairState.PAIR: 10}


def entry(generation: int, seconds: float) -> TakeoverEntry:
    return TakeoverEntry(
        site="osaka",
        ended_ns=EPOCH_NS,
        kind="planned",
        generation=generation,
        seconds=seconds,
        lag_seconds=0.0,
        lag_seconds_max=0.0,
        missing_journals=0,
        missing_bytes=0,
        restored_sequence=5,
        restored_time_ns=EPOCH_NS,
    )


def test_a_takeover_given_again_is_remembered_once(agent: Agent) -> None:
    agent.history.took_over(agent.pair, entry(2, 0.4))
    agent.kill()
    agent.history.took_over(agent.pair, entry(2, 99.0))
    agent.history.took_over(agent.pair, entry(3, 0.8))
    agent.see(PairState.SSWS, 1, None)
    assert [(each.generation, each.seconds) for each in agent.figures().takeovers] == [(2, 0.4), (3, 0.8)]


def test_a_takeover_that_is_read_back_is_synced_before_it_counts_as_remembered(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who wrote it may have been killed before its sync, of the file or of its name."""
    agent.history.took_over(agent.pair, entry(2, 0.4))
    agent.kill()
    with directory_sync_fails(monkeypatch), pytest.raises(StorageError):
        agent.history.took_over(agent.pair, entry(2, 0.4))
    with monkeypatch.context() as broken:
        file_sync_fails(agent.file, broken)
        with pytest.raises(StorageError):
            agent.history.took_over(agent.pair, entry(2, 0.4))
    agent.history.took_over(agent.pair, entry(2, 0.4))
    assert len(Book(agent.file).takeovers()) == 1


def test_a_takeover_that_the_disk_refused_is_not_remembered_until_it_is_given_again(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by a sync of the file that failed, nor by one of its name."""
    with directory_sync_fails(monkeypatch):
        for _ in range(2):
            with pytest.raises(StorageError):
                agent.history.took_over(agent.pair, entry(2, 0.4))
    assert agent.history.lines(agent.pair)[0] == []
    agent.history.took_over(agent.pair, entry(2, 0.4))
    assert len(agent.history.lines(agent.pair)[0]) == 1


def test_a_line_that_a_crash_cut_is_passed_over(agent: Agent) -> None:
    agent.see(PairState.PAIR, 100, BEHIND)
    with agent.file.open("ab") as file:
        file.write(b'{"kind": "sta')
    agent.kill()
    agent.see(PairState.PFUS, 10, None)
    assert agent.times()[PairState.PFUS] == 10
    assert any(isinstance(line, StateLine) and line.state == "PFUS" for line in Book(agent.file).lines())


def test_the_file_is_bounded_and_keeps_takeovers_and_the_newest(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book, "MINUTES_KEPT_NS", book.HOUR_NS)
    monkeypatch.setattr(book, "HOURS_KEPT_NS", 6 * book.HOUR_NS)
    monkeypatch.setattr(agent.history, "_book", lambda group: Book(agent.file, 40_000))
    agent.history.took_over(agent.pair, entry(2, 0.4))
    for number in range(600):
        agent.see(PairState.PAIR, 300, Lag(0.001 * (number % 97 + 1), 4096 * number, 1), beat=60.0)
        assert agent.file.stat().st_size <= 40_000 + 2000
    found = agent.figures()
    assert [each.generation for each in found.takeovers] == [2]
    lines = [line for line in Book(agent.file).lines() if isinstance(line, LagLine)]
    assert lines[-1].until_ns >= agent.now.wall_ns - 61 * SECOND_NS
    spans = [(line.until_ns - line.at_ns) / book.HOUR_NS for line in lines]
    assert any(span > 12 for span in spans)  # the oldest became days
    assert any(0.5 < span <= 1.1 for span in spans)  # younger ones hours
    assert found.recorded_seconds == pytest.approx(agent.seconds)  # and nothing was dropped for the room
    assert sum(line.seconds for line in lines) == pytest.approx(agent.seconds, abs=61)


def test_a_pair_that_flaps_for_days_is_bounded_too(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent.history, "_book", lambda group: Book(agent.file, 20_000))
    for number in range(500):
        agent.see((PairState.PAIR, PairState.PSUE)[number % 2], 60, None, beat=60.0)
        assert agent.file.stat().st_size <= 20_000 + 1000
    changes = agent.figures().changes
    assert [each.state for each in changes[-2:]] == [PairState.PAIR, PairState.PSUE]
    assert len(changes) > 20


def test_marks_are_kept_only_where_they_cost_no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [SimpleNamespace(mountpoint="/", fstype="ext4"), SimpleNamespace(mountpoint="/run", fstype="tmpfs")]
    monkeypatch.setattr("psutil.disk_partitions", lambda all: parts)
    assert marks.in_memory(Path("/run/pairvol-agent/not/there/yet"))
    assert not marks.in_memory(Path("/var/lib/pairvol-agent/run"))


STATES = st.sampled_from([PairState.COPY, PairState.PAIR, PairState.PFUL, PairState.PSUE])
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["see", "see", "see", "kill", "end", "away"]),
        STATES,
        st.integers(1, 150),
        st.sampled_from([NONE, BEHIND, Lag(0.02, 512, 1)]),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_recorded_is_never_more_than_what_was_seen_and_little_less(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, PairState, int, Lag]]
) -> None:
    agent = Agent(tmp_path_factory.mktemp("ledger"))
    seen: dict[PairState, float] = {}
    lost = 0
    running = False  # whether the next look continues the one before
    last: PairState | None = None
    for act, state, seconds, lag in steps:
        if act == "see":
            agent.see(state, seconds, lag)
            seen[state] = seen.get(state, 0.0) + seconds
            running, last = True, state
        elif act == "kill":
            lost += 61 if running else 0
            agent.kill()
            running = False
        elif act == "end":
            agent.end()
            running = False
        else:
            agent.away(seconds)
            if running and last is not None and seconds <= recorder.GAP_SECONDS:
                seen[last] = seen.get(last, 0.0) + seconds  # taken for one long beat, until the next look
    recorded = agent.times()
    for state, time in recorded.items():
        assert time <= seen.get(state, 0.0) + 0.01
    assert sum(recorded.values()) >= sum(seen.values()) - lost - 150 * sum(act == "away" for act, *_ in steps)
