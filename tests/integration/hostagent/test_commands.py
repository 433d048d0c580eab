"""Every cell of the table in hostagent/commands/COMMANDS.md, given to the agents of two real sites."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

import pytest

from controller.api.models import VolumeCreate
from controller.errors import ConflictError, NotFoundError, PairvolError
from hostagent.api.models import PairPolicy, PairResync, PairSplit, PairState
from hostagent.cli.demo.sites import Daemon
from hostagent.client import Agent
from tests.integration.hostagent import command_table
from tests.integration.hostagent.command_table import ROWS
from tests.integration.hostagent.conftest import JOURNAL_BYTES, Case
from tests.support.nbdkit import connected
from tests.support.waiting import wait_until

pytestmark = pytest.mark.e2e

TABLE = command_table.read()
SLOW = PairPolicy(limit_bytes_per_second=64 << 10)
SMALL_BYTES = 1 << 20
PIECE_BYTES = 512 << 10
Way = Callable[[], object]


class Column:
    """One state's column: refusals and what leaves the state as it is first, then what has a way back to it."""

    def __init__(self, case: Case, state: str, numeric: PairState) -> None:
        self.case, self.state, self.cells = case, numeric, TABLE[state]
        self.left = {(row, name) for row, commands in ROWS.items() for name in commands}

    def stays(self, *changing: str) -> None:
        """Give every command but these, also to the other agent what is refused; the pair stays in its state."""
        for row, commands in ROWS.items():
            for name in commands:
                if name not in changing:
                    agents = [self.case.tokyo, self.case.osaka]
                    for agent in agents[: 1 + (not self.cells[row].done or name.startswith("drill"))]:
                        self._give(row, name, agent)
                    self.left.remove((row, name))
        assert self.case.status().state is self.state

    def change(self, name: str, back: Way, *, agent: Agent | None = None) -> None:
        """A command that is done and changes the state, and what brings the pair back."""
        row = next(row for row, commands in ROWS.items() if name in commands)
        assert self.cells[row].done, f"{name} is not done in {self.state}"
        ROWS[row][name](self.case, agent or self.case.osaka)
        self.left.remove((row, name))
        back()

    def drops(self, name: str, forced: Way, back: Way) -> None:
        """A command that would drop something: refused with a word about --force, and done with it."""
        row = next(row for row, commands in ROWS.items() if name in commands)
        assert self.cells[row].drops, f"{name} drops nothing in {self.state}"
        for agent in (self.case.tokyo, self.case.osaka):
            with pytest.raises(ConflictError) as caught:
                ROWS[row][name](self.case, agent)
            assert "--force" in caught.value.hint
        forced()
        self.left.discard((row, name))
        back()

    def end(self) -> None:
        """Deleted last of all; then every cell of the column was tried."""
        self.change("delete", lambda: None)
        assert not self.left, f"not tried in {self.state}: {sorted(self.left)}"

    def _give(self, row: str, name: str, agent: Agent) -> None:
        cell, command = self.cells[row], ROWS[row][name]
        if cell.done:
            command(self.case, agent)
            return
        with pytest.raises(PairvolError) as caught:
            command(self.case, agent)
        error = caught.value
        assert (error.exit_code, type(error).__name__) == (20, "ConflictError"), (name, error.message)
        for words in cell.hints:
            meant = (words.format(group=self.case.name), words.format(group="GROUP"))
            assert any(each in error.hint for each in meant), (name, words, error.message, error.hint)


@pytest.fixture
def two(case: Case) -> Case:
    """A pair of two volumes, -b and its own, and one more that may join it."""
    for part in ("b", "c"):
        case.tokyo.create_volume(VolumeCreate(name=f"{case.name}-{part}", size_bytes=SMALL_BYTES))
    case.volumes.append(f"{case.name}-b")
    return case


def fill(case: Case, size_bytes: int) -> None:
    uri = case.tokyo.volume(case.name).uri
    assert uri is not None
    data = random.Random(3).randbytes(PIECE_BYTES)
    with connected(uri) as handle:
        for _ in range(size_bytes // PIECE_BYTES):
            handle.pwrite(data, 0)
        handle.flush()


def test_the_rows_are_those_of_the_document() -> None:
    assert {state: set(cells) for state, cells in TABLE.items()} == {state: set(ROWS) for state in TABLE}
    assert list(TABLE) == ["COPY", "PAIR", "PFUL", "PSUS split", "PSUS stopped", "PFUS", "SSWS"]


def test_no_pair(case: Case) -> None:
    for row, commands in ROWS.items():
        for name, command in commands.items():
            if not row.startswith("pair create") and name != "volume resize":
                for agent in (case.tokyo, case.osaka):
                    with pytest.raises(NotFoundError, match="no pair named"):
                        command(case, agent)


def test_copy(two: Case) -> None:
    case = two
    case.make_volume()
    uri = case.tokyo.volume(case.name).uri
    assert uri is not None
    with connected(uri) as handle:
        handle.pwrite(random.Random(3).randbytes(JOURNAL_BYTES), 0)
    case.create(SLOW)
    case.wait_state(PairState.COPY)
    column = Column(case, "COPY", PairState.COPY)
    column.stays("journal stop", "delete")

    def start() -> None:
        case.tokyo.start_journal(case.name)
        case.wait_state(PairState.COPY)

    column.change("journal stop", start)
    column.end()


def test_pair_and_ful(two: Case) -> None:
    case = two
    case.pair()
    case.write(1)
    changing = ("split", "split --rw", "takeover", "delete", "add", "remove", "volume resize", "journal stop")
    in_step = partial(case.wait_state, PairState.PAIR)
    column = Column(case, "PAIR", PairState.PAIR)
    column.stays(*changing)
    wait_until(lambda: case.tokyo.verify_report(case.name).phase != "running", 30, "the end of the verify")
    rehearsed(case)

    case.made = case.order(policy=SLOW.model_dump())
    case.tokyo.set_pair(case.name, SLOW.limit_bytes_per_second)
    fill(case, case.journal_bytes() * 9 // 10)
    case.wait_state(PairState.PFUL)
    # What changes the state waits for the link there, which is slow because that is how the state is made.
    Column(case, "PFUL", PairState.PFUL).stays(*changing, "journal resize")
    case.tokyo.set_pair(case.name, None)
    in_step()

    def resync() -> None:
        case.tokyo.resync_pair(case.name)
        in_step()

    def hand_back() -> None:
        case.linked.join_data_link(case.name, case.linked.second)
        in_step()
        assert case.tokyo.take_over(case.name, to="tokyo").kind == "planned"
        case.linked.join_data_link(case.name)
        in_step()

    for name in ("add", "remove", "volume resize"):
        column.change(name, in_step)
    for name in ("split", "split --rw", "journal stop"):
        column.change(name, resync)
    column.change("takeover", hand_back)

    column.end()


def rehearsed(case: Case) -> None:
    """While a drill is open; and a site that has no part in the pair."""
    case.osaka.start_drill(case.name)
    for agent in (case.tokyo, case.osaka):
        for command in ("split", "delete", "volume resize", "add", "remove"):
            row = next(row for row, commands in ROWS.items() if command in commands)
            with pytest.raises(ConflictError) as caught:
                ROWS[row][command](case, agent)
            assert f"pairvol drill stop {case.name}" in caught.value.hint, command
        with pytest.raises(ConflictError, match="has no part in it"):
            agent.take_over(case.name, to="nagoya")
    case.tokyo.stop_drill(case.name)


def test_split(two: Case) -> None:
    case = two
    case.pair()

    def split() -> None:
        case.wait_state(PairState.PAIR)
        case.tokyo.split_pair(case.name)
        case.write(2)
        case.wait_state(PairState.PSUS)

    def resync(force: bool = True) -> None:
        case.tokyo.resync_pair(case.name, PairResync(force=force))

    def again() -> None:
        resync()
        split()

    split()
    column = Column(case, "PSUS split", PairState.PSUS)
    column.stays("resync", "delete", "journal stop")
    column.change("resync", split)
    column.change("journal stop", again)
    case.tokyo.split_pair(case.name, PairSplit(writable=True))
    case.write(3, agent=case.osaka)
    column.drops("resync", resync, split)
    column.end()


def test_stopped(two: Case) -> None:
    case = two
    case.pair()

    def stop() -> None:
        case.wait_state(PairState.PAIR)
        case.tokyo.stop_journal(case.name)
        case.wait_state(PairState.PSUS)

    stop()
    column = Column(case, "PSUS stopped", PairState.PSUS)
    column.stays("resync", "journal start", "delete")
    column.change("resync", stop)
    column.change("journal start", stop)
    column.end()


def test_full(two: Case) -> None:
    case = two
    case.pair(PairPolicy(resync="command"))

    def suspend() -> None:
        case.wait_state(PairState.PAIR)
        case.tokyo.set_pair(case.name, SLOW.limit_bytes_per_second)
        fill(case, case.journal_bytes() * 5 // 4)
        case.wait_state(PairState.PFUS)
        case.tokyo.set_pair(case.name, None)
        wait_until(all_copied, 30, "the journals before it to be copied")

    def all_copied() -> bool:
        sides = case.tokyo.journal(case.name)
        assert sides.primary is not None
        assert sides.secondary is not None
        newest = sides.primary.pointers["journal_in"].sequence
        return newest == sides.secondary.pointers["already_restored"].sequence

    def resync() -> None:
        case.tokyo.resync_pair(case.name)
        suspend()

    suspend()
    column = Column(case, "PFUS", PairState.PFUS)
    column.stays("resync", "delete", "journal stop")
    column.change("resync", suspend)
    column.change("journal stop", resync)
    column.end()


def test_taken_over(two: Case) -> None:
    case = two
    case.pair()

    def lose(primary: Agent, secondary: Agent) -> None:
        """What the primary wrote while the pair was split is given up."""
        case.wait_state(PairState.PAIR)
        primary.split_pair(case.name)
        case.write(2, agent=primary)
        secondary.take_over(case.name, force=True)
        case.write(3, agent=secondary)
        for agent in (primary, secondary):
            case.wait_state(PairState.SSWS, agent)
            wait_until(lambda: taken_over(agent, case.name), what="both to know")  # noqa: B023

    lose(case.tokyo, case.osaka)
    column = Column(case, "SSWS", PairState.SSWS)
    column.stays("swap", "resync", "delete")

    def keep() -> None:
        case.tokyo.resync_pair(case.name, PairResync(force=True))

    column.drops("resync", keep, lambda: lose(case.tokyo, case.osaka))

    def swap() -> None:
        case.tokyo.resync_pair(case.name, PairResync(swap=True, force=True))
        case.linked.join_data_link(case.name, case.linked.second)

    column.drops("swap", swap, lambda: lose(case.osaka, case.tokyo))
    assert column.cells["pair delete"].drops
    case.osaka.delete_pair(case.name, force=True)  # a marker's journal may not have come over
    assert column.left == {("pair delete", "delete")}


def test_a_silent_site(two: Case) -> None:
    """PSUE by silence: who needs the site says so (50), whatever else the state would forbid."""
    case = two
    case.pair()
    case.linked.second.kill_site()
    case.wait_state(PairState.PSUE)
    last = ("takeover", "takeover --to", "delete", "create others", "journal stop", "journal start", "marker put")
    unanswered(case, case.tokyo, *last)
    for daemon in Daemon:
        case.linked.second.start(daemon)
    case.linked.second.wait_ready()
    case.wait_state(PairState.PAIR)

    assert case.tokyo.take_over(case.name).kind == "planned"
    case.linked.join_data_link(case.name, case.linked.second)
    case.wait_state(PairState.PAIR)
    case.tokyo.resync_pair(case.name, PairResync(swap=True))  # given again
    case.linked.first.kill_site()
    case.wait_state(PairState.PSUE, case.osaka)
    unanswered(case, case.osaka, "create", *last)  # which names the direction that it was made in


def unanswered(case: Case, agent: Agent, *not_given: str) -> None:
    for row, commands in ROWS.items():
        for name in commands.keys() - set(not_given):
            with pytest.raises(PairvolError) as caught:
                ROWS[row][name](case, agent)
            error = caught.value
            assert (error.exit_code, type(error).__name__) == (50, "PeerError"), (name, error.message)
    assert case.status(agent).state is PairState.PSUE


def taken_over(agent: Agent, group: str) -> bool:
    return any(pair.group == group and pair.taken_over for pair in agent.pairs())
