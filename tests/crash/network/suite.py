"""The network matrix: every kind of fault between two real sites whose hosts write on, and what is left of it.

For each: host writes go on and none waits beyond what a client bears; both
sites' statuses say what they must; what a crash of the second site would leave
at that moment is a prefix of the writes; after the fault ends the pair is
protected again without help. At the end both sites are equal and every
acknowledged write is there.
"""

from __future__ import annotations

import itertools
import random
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from controller.errors import PairvolError
from hostagent.api.models import PairState, PairStatus
from tests.crash.network.kinds import KINDS, Kind, Told, grown
from tests.crash.network.namespaces import missing
from tests.crash.network.sites import NetworkedSites
from tests.crash.results import Controls, Row, wanted
from tests.support.stamped import StampedPair, check_copy, copy_frozen, finish_restore
from tests.support.waiting import DeadlineError, wait_until

CLIENT_SECONDS = 30.0  # after which the kernel's NBD client gives a device up
STATUS_SECONDS = 30.0
HEALED_SECONDS = 90.0
CONTROL_SECONDS = 20.0  # a mutant that has not come round by then has been caught
GROUP = "order"
CONTROLS = {"no deadlines": "half-open", "checksums skipped": "payload spoiled"}  # the kind that shows each


class Matrix:
    """Two sites, a pair, and writers, through one fault after the other."""

    def __init__(self, row: Row, directory: Path, stack: ExitStack, mutant: str = "") -> None:
        self.row = row
        self.directory = directory
        self.healed_seconds = CONTROL_SECONDS if mutant else HEALED_SECONDS
        self.sites = stack.enter_context(NetworkedSites(directory, row.seed, mutant))
        self.pair = StampedPair(self.sites, stack)
        self.longest_seconds = 0.0
        self._cuts = itertools.count()

    def run(self, kind: Kind) -> None:
        """One fault, from its beginning until everything is as before."""
        self.row.attempted += 1
        first = len(self.pair.log.writes)
        before = self.sites.network.heal()
        self.pair.more_writes(50)
        happened = 0
        try:
            self.sites.network.set(kind.faults)
            happened = kind.act(self.sites, self.pair) if kind.act else 0
            self.pair.more_writes(400)
            self._check_told(kind)
            self._check_cut(kind)
        except DeadlineError as failure:
            self.row.lose(f"{kind.name}: {failure}")
        finally:
            if kind.undo:
                kind.undo(self.sites)
            after = self.sites.network.heal()
        self.row.reached += bool(grown(before, after, kind.reached) if kind.reached else happened)
        try:
            self.sites.wait_restored(GROUP, self.sites.newest(GROUP), self.healed_seconds)
            self.sites.wait_protected(GROUP, self.healed_seconds)
        except AssertionError as failure:
            self.row.lose(f"{kind.name}: {failure}")
        self._check_waits(kind, first)

    def _check_told(self, kind: Kind) -> None:
        """Both agents answer, and say what is wrong when something is."""
        for site in self.sites.sites:
            agent, other = self.sites.agent(site), next(one for one in self.sites.sites if one is not site)

            def told(agent: object = agent, other: str = other.name) -> bool:
                try:
                    status = agent.pair_status(GROUP)  # type: ignore[attr-defined]
                except PairvolError:
                    return False
                return says(status, kind.told, other)

            wait_until(told, STATUS_SECONDS, f"{site.name} to say: {kind.told.value}", interval=0.2)

    def _check_cut(self, kind: Kind) -> None:
        copy = self.directory / f"cut{next(self._cuts)}"
        copy_frozen(self.pair, copy, kill=False)
        try:
            finish_restore(copy)
        except PairvolError as error:
            self.row.lose(f"{kind.name}: {error.message}")
            return
        report = check_copy(copy, self.pair.log)
        if not report.clean:
            self.row.disorder(f"{kind.name}: {report}")

    def _check_waits(self, kind: Kind, first: int) -> None:
        waits = [(w.settled_ns - w.issued_ns) / 1e9 for w in self.pair.log.cut()[first:] if w.acknowledged]
        longest = max(waits, default=0.0)
        self.longest_seconds = max(self.longest_seconds, longest)
        if longest > CLIENT_SECONDS:
            self.row.lose(f"{kind.name}: a host write waited {longest:.1f} s")

    def end(self) -> None:
        """Both sites equal, nothing missing."""
        try:
            self.pair.end_equal()
        except AssertionError as failure:
            self.row.lose(f"at the end: {failure}")


def says(status: PairStatus, told: Told, other: str) -> bool:
    """Whether a status says at least that."""
    if told is Told.ANYTHING:
        return bool(status.line)
    if not status.cause or status.state is PairState.PAIR or status.verdict == "OK":
        return False
    if told is Told.DATA_LINK:
        return "cannot read the journal" in status.cause
    return any(side.site == other and side.unknown_since_ns and side.state is None for side in status.sides)


def run_kinds(row: Row, directory: Path, kinds: Sequence[Kind], mutant: str = "") -> Matrix:
    """These faults in this order, on sites made for them."""
    with ExitStack() as stack:
        matrix = Matrix(row, directory, stack, mutant)
        for kind in kinds:
            matrix.run(kind)
        matrix.end()
    return matrix


def run(seed: int, points: int, directory: Path, controls: Controls = None) -> Row:
    """`points` faults, every kind in turn, in an order that the seed chooses."""
    row = Row("network", seed)
    if why := missing():
        row.lose(f"skipped: {why}")
        return row
    kinds = random.Random(seed).sample(KINDS, len(KINDS))
    chosen = list(itertools.islice(itertools.cycle(kinds), points))
    matrix = run_kinds(row, directory / "sites", chosen)
    print(f"longest host write of all: {matrix.longest_seconds:.2f} s")
    for name in wanted(CONTROLS, controls):
        row.control(name, caught(seed, directory, name))
    return row


def caught(seed: int, directory: Path, mutant: str) -> bool:
    """Whether the fault that shows a mistake finds it in a controller that makes it."""
    found = Row("network control", seed)
    kind = next(kind for kind in KINDS if kind.name == CONTROLS[mutant])
    with tempfile.TemporaryDirectory(prefix="m", dir=directory) as folder:
        run_kinds(found, Path(folder), [kind], mutant)
    return not found.holds
