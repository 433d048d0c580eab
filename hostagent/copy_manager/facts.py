"""What an agent knows about one pair, from whom, and since when.

Owns the facts and how an answer, a message or a failure changes them. Must
not do I/O, read a clock, or decide anything: `manager.py` decides on facts,
`observe.py` reads a state out of them. Facts are volatile; an agent that
starts knows nothing and asks.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from controller.api.models import (
    ChangedRegions,
    Composition,
    CopySource,
    Failure,
    Group,
    JournalState,
    Links,
    Role,
)
from controller.errors import (
    DiskFullError,
    NotDurableError,
    NotFoundError,
    PairvolError,
    PeerError,
    StorageError,
)
from controller.journal.pointers import Pointer
from hostagent.api.models import Exchange, ExchangeAnswer, Pair
from hostagent.copy_manager.actions import Action, ExchangeWithPeer, QueryGroup, QueryState
from hostagent.copy_manager.lag import Lag, measure, position, tells_all
from hostagent.copy_manager.looks import Looks
from hostagent.copy_manager.side import Instant, SideFacts
from hostagent.copy_manager.starts import said_later
from hostagent.decisions import age, same_direction
from hostagent.limit import newest_limit

SAMPLES_MAX: Final = 64
DISK_ERRORS: Final = {kind.__name__ for kind in (StorageError, DiskFullError, NotDurableError)}
WATCH_NS: Final = 200_000_000  # a watching controller looks at least every 200 ms


@dataclass(slots=True)
class Facts:
    """Everything known about one pair at the agent of `site`."""

    site: str
    pair: Pair
    started: Instant
    host: str = ""  # the name of this agent among those that reach the own controller
    stands_in: bool = False  # it is not an agent of `site`, and speaks for it
    drives: bool = True  # False: another agent gives the orders
    driver: str | None = None  # which does, as the own controller said last
    own: SideFacts = field(default_factory=SideFacts)
    peer: SideFacts = field(default_factory=SideFacts)
    asked: Instant | None = None  # when the own controller was last asked, with or without an answer
    contact: Instant | None = None  # when the other agent was last heard
    answered: Instant | None = None  # when it last answered a question of ours with news of its controller
    contact_failure: Failure | None = None  # why the last request to it failed, if nothing was heard since
    peer_pair: Pair | None = None
    peer_lacks_pair: bool = False  # it answers, and has no such pair
    peer_generation: int = 0
    divided_generation: int = 0  # of the newest takeover after which the old primary was seen to serve on
    peer_host: str = ""  # which agent of the other site was heard last
    peer_stands_in: bool = False  # and whether it only speaks for that site
    peer_drives: bool = True
    composition: Composition | None = None  # of the primary's journal
    links: Links | None = None  # to the primary
    source_generation: int = 0  # of the records behind those links
    regions: ChangedRegions | None = None  # of the primary's present set
    refusals: dict[str, Failure] = field(default_factory=dict)  # by kind of action: why it was refused last
    peer_refusal: Failure | None = None  # of the orders of the other agent: what a disk of its site refuses
    covered: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=SAMPLES_MAX))
    looks: Looks = field(default_factory=Looks)  # the same, by the agent's own clock
    behind: Lag | None = None  # as of the last exchange, when both sides were asked one after the other
    fill_percent_rate: float = 0.0  # of the own journal, percent points a second

    @property
    def is_primary(self) -> bool:
        return self.pair.primary.site == self.site

    @property
    def peer_site(self) -> str:
        return self.pair.secondary.site if self.is_primary else self.pair.primary.site

    @property
    def primary(self) -> SideFacts:
        return self.own if self.is_primary else self.peer

    @property
    def secondary(self) -> SideFacts:
        return self.peer if self.is_primary else self.own

    @property
    def source(self) -> CopySource | None:
        """Where the secondary reads; None until the primary has told."""
        if self.composition is None or self.links is None:
            return None
        return CopySource(
            site=self.pair.primary.site,
            uuid=self.pair.uuid,
            generation=self.source_generation,
            composition=self.composition,
            links=self.links,
        )

    @property
    def refused_by_disk(self) -> Failure | None:
        """Of the refusals, the first one that the other agent is told: the rest settles between orders."""
        return next((failure for failure in self.refusals.values() if failure.error in DISK_ERRORS), None)

    @property
    def taken_over(self) -> bool:
        """Whether the secondary site is known to serve the volumes.

        Old news will do: only a decision of the direction undoes it. Then the
        two sites have changed their places in the pair, or its generation is
        above that of the takeover.
        """
        state, told = self.secondary.state, self.peer_pair
        return (
            self.pair.taken_over
            or (
                state is not None
                and state.uuid == self.pair.uuid
                and state.role is Role.TAKEN_OVER
                and state.generation >= self.pair.generation
            )
            or (told is not None and same_direction(told, self.pair) and told.taken_over)
        )

    @property
    def generation_known(self) -> int:
        """The highest generation that this agent has seen anywhere."""
        own = self.own.state.generation if self.own.state else 0
        return max(self.pair.generation, own, self.peer_generation)

    def turn(self, pair: Pair) -> None:
        """Go on with the pair as it is kept now; after a change of direction nothing said of the old one counts."""
        if not same_direction(pair, self.pair):
            self.composition = self.links = self.regions = self.behind = None
            self.source_generation = 0
            self.covered.clear()
            self.looks.clear()
            self.refusals.clear()
            self.peer_refusal = None
        self.pair = newest_limit(pair, self.pair)

    # -- from the own controller ------------------------------------------------

    def own_state(self, now: Instant, state: JournalState, asked: bool = True, begun: Instant | None = None) -> None:
        """The own controller told its state: asked for it, or as the answer to an order given at `begun`."""
        if asked:
            self.asked = now
        if not self.own.takes(state, begun):
            return
        if self.own.state is not None and self.own.state.role is not state.role:
            self.composition = self.links = None  # its servers are set up anew
        if self.own.state is not None and self.own.heard is not None:
            elapsed = now.seconds - self.own.heard.seconds
            if elapsed > 0.01:
                self.fill_percent_rate = (state.fill_percent - self.own.state.fill_percent) / elapsed
        ended = self.own.state is not None and self.own.state.epoch is not None and state.epoch is None
        self.own.told(now, state)
        if self.is_primary:
            self._sample(now)
            if ended:
                self._measure()  # what was behind in changed regions has been brought over

    def own_group(self, now: Instant, group: Group) -> None:
        """The own controller told its group: at the primary, where the journal is read."""
        if self.is_primary:
            self.composition, self.links = group.composition, group.links
            self.source_generation = group.generation

    def own_failed(self, now: Instant, error: PairvolError) -> None:
        """The own controller did not answer, or has no such group."""
        self.asked = now
        self.own.failure = failure_of(error, now)
        self.own.absent = type(error) is NotFoundError  # and not that a file of the group is gone

    def noted(self, now: Instant, action: Action, result: object, begun: Instant | None = None) -> None:
        """An action that the manager asked for, begun then, ended with this answer, or with an error."""
        if isinstance(action, ExchangeWithPeer):
            if isinstance(result, ExchangeAnswer):
                known = self.peer.state
                self.heard(now, result, begun)
                if self.peer.state is result.state and said_later(result.state, known):
                    self.answered = now
            elif isinstance(result, PairvolError):
                self.not_heard(now, result)
            return
        kind = type(action).__name__
        if not isinstance(result, PairvolError):
            self.refusals.pop(kind, None)
        if isinstance(result, Pair):
            self.turn(result)
        elif isinstance(result, ChangedRegions):
            self.regions = result
        elif isinstance(result, JournalState):
            if isinstance(action, QueryState) and action.wait_seconds > 0 and self.is_primary:
                self._waited(action.after or 0, result)
            self.own_state(now, result, isinstance(action, QueryState), begun)
        elif isinstance(result, Group):
            self.own_group(now, result)
        elif isinstance(result, PairvolError):
            gone = isinstance(action, QueryGroup) and type(result) is NotFoundError
            if isinstance(action, QueryState) or isinstance(result, PeerError) or gone:
                self.own_failed(now, result)
            else:
                self.refusals[kind] = failure_of(result, now)

    def wants(self, kinds: frozenset[str]) -> None:
        """There is reason now for these kinds of action; the refusal of another one is settled."""
        for kind in self.refusals.keys() - kinds:
            del self.refusals[kind]

    # -- from the other agent ---------------------------------------------------

    def heard(self, now: Instant, message: Exchange | ExchangeAnswer, begun: Instant | None = None) -> None:
        """The other agent told, or answered a question of `begun`, what it knows.

        Late and repeated messages do no lasting harm.
        """
        self.contact, self.contact_failure = now, None
        self.peer_host, self.peer_stands_in, self.peer_drives = message.host, message.stands_in, message.drives
        self.peer_refusal = message.refusal
        # Another pair of that name is as good as none.
        self.peer_lacks_pair = message.pair is None or message.pair.uuid != self.pair.uuid
        if message.pair is None or self.peer_lacks_pair:
            self.peer_pair = message.pair
            return
        known = self.peer_pair
        if known is None or known.uuid != self.pair.uuid or age(message.pair) >= age(known):
            self.peer_pair = message.pair
        self.peer_generation = max(self.peer_generation, message.generation_known, message.pair.generation)
        if message.state is None:
            silent = PeerError(f"the storage controller of {self.peer_site} does not answer its agent")
            self.peer.failure = message.failure or failure_of(silent, now)
            self.peer.absent = self.peer.failure.error == NotFoundError.__name__
            return
        fresh = self.peer_state(now, message.state, begun)
        self.divided_generation = max(self.divided_generation, message.divided_generation, self._divided())
        if message.regions is not None and not self.is_primary:
            self.regions = message.regions
        if fresh and not self.is_primary and message.composition is not None and message.links is not None:
            self.composition, self.links = message.composition, message.links
            self.source_generation = message.state.generation

    def _divided(self) -> int:
        """The takeover's generation, when by the newest word of both controllers the old primary serves beside it.

        One agent may see only what follows, such as a fenced primary; so who sees it tells the other. A takeover
        that was planned began when the old primary refused writes, whatever is known of it from before.
        """
        old, new = self.primary.state, self.secondary.state
        if not self.taken_over or old is None or new is None or old.uuid != new.uuid:
            return 0
        planned = {pair.planned_generation for pair in (self.pair, self.peer_pair) if pair is not None}
        served = old.role is Role.PRIMARY and old.serving and not old.quiesced and old.generation < new.generation
        return new.generation if served and new.generation not in planned else 0

    def peer_state(self, now: Instant, state: JournalState, begun: Instant | None = None) -> bool:
        """The other site's controller told its state; whether that was news."""
        fresh = self.peer.takes(state, begun)
        if fresh:
            self.peer.told(now, state)
        if fresh and not self.is_primary:
            self._sample(now)
        self._measure()
        return fresh

    def _measure(self) -> None:
        primary, secondary, heard = self.primary.state, self.secondary.state, self.primary.heard
        if primary is not None and secondary is not None and heard is not None:
            seen = self.looks.missing(position(secondary, Pointer.ALREADY_READ).sequence, heard.seconds)
            self.behind = measure(primary, secondary, self.covered, self.pair.created_ns, seen)

    def not_heard(self, now: Instant, error: PairvolError) -> None:
        """A request to the other agent failed."""
        self.contact_failure = failure_of(error, now)

    def _waited(self, after: int, state: JournalState) -> None:
        """The controller watched for a journal above `after`: until shortly before its answer there was none."""
        if tells_all(state):
            self.covered.append((after, state.time_ns - WATCH_NS))

    def _sample(self, now: Instant) -> None:
        """Remember that at this moment of the primary's clock, journals ended here: see `lag.measure`."""
        state = self.primary.state
        if state is None:
            return
        sequence, whole = self.primary.position(Pointer.JOURNAL_IN).sequence, tells_all(state)
        self.looks.add(sequence, now.seconds, whole=whole)
        if whole:
            if self.covered and self.covered[-1][0] == sequence:
                self.covered.pop()
            self.covered.append((sequence, state.time_ns))


def failure_of(error: PairvolError, now: Instant) -> Failure:
    return Failure(error=type(error).__name__, message=error.message, hint=error.hint, time_ns=now.wall_ns)
