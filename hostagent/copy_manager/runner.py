"""Carries out what the copy manager of one pair asks for: one thread for each pair.

Owns the thread, the lock on the pair's facts, and the translation of actions
into calls. Must not decide anything: see `manager.py`. Errors of calls become
facts; only a mistake in the program is logged as such, and the thread goes on.

Lock order: a runner's lock is held for no call to anybody.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar

from controller.api.client import ControllerClient
from controller.api.models import JournalState
from controller.errors import ConflictError, PairvolError
from controller.events import Events
from hostagent.api.models import Exchange, ExchangeAnswer, Pair, PairState, PairStatus
from hostagent.clock import now
from hostagent.config import CopySettings
from hostagent.copy_manager.actions import Action, QueryGroup, QueryState
from hostagent.copy_manager.calls import call
from hostagent.copy_manager.copied_marker import CopiedMarker
from hostagent.copy_manager.facts import Facts
from hostagent.copy_manager.manager import CopyManager
from hostagent.copy_manager.observe import peer_silent, unknown_since
from hostagent.copy_manager.primary import message
from hostagent.copy_manager.reporting import Reporter, Telling, asked, kept
from hostagent.decisions import refuse_decided
from hostagent.history.recorder import History
from hostagent.hosts.driving import Driving
from hostagent.hosts.seat import Seat
from hostagent.hosts.watch import Watch
from hostagent.pairs import PairStore
from hostagent.peers import AgentClient
from hostagent.status import pair_status

SHORT_SECONDS: Final = 1.0  # deadline of a direct question for a status
JUST_NS: Final = 2_000_000_000  # who failed to answer so lately is not asked again for a status

Answer = TypeVar("Answer")

_log = logging.getLogger("pairvol.agent")


@dataclass(frozen=True)
class Surroundings:
    """What every runner works with."""

    site: str
    settings: CopySettings
    controller: ControllerClient
    store: PairStore
    events: Events
    history: History
    host: str = ""  # the name of this agent, among those that reach the controller
    stands_in: bool = False


class PairRunner:
    """One pair at work. Any thread may call it; `start` begins its own."""

    def __init__(self, pair: Pair, peer: AgentClient, around: Surroundings) -> None:
        self.group = pair.group
        self._peer = peer
        self._around = around
        self._changed = threading.Condition()
        self._keeping = threading.Lock()  # of the pair; taken before that one
        host = around.host or around.site
        self._facts = Facts(around.site, pair, now(), host=host, stands_in=around.stands_in)
        self._manager = CopyManager(around.settings)
        self._watch = Watch(around.settings)
        self._copied = CopiedMarker()
        seat = Seat(host, around.settings.driver_seconds, around.settings.beat_seconds, around.stands_in)
        self.driving = Driving(pair.group, around.site, seat, around.controller, around.events)
        self._reporter = Reporter(pair, around.settings)
        self._woken = self._stopping = False
        self._thread = threading.Thread(target=self._main, name=f"pair {pair.group}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing more. An action under way may still end; the thread is not waited for."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    # -- asked and told by others ----------------------------------------------------

    @property
    def pair(self) -> Pair:
        with self._changed:
            return self._facts.pair

    def heard(self, told: Exchange) -> ExchangeAnswer:
        """The other agent calls: take what it says, answer with what the own controller says now."""
        self.look()
        with self._changed:
            self._facts.heard(now(), told)
            answer = message(self._facts)
            self._wake()
        self._look_for_two()
        return ExchangeAnswer.model_validate(answer.model_dump())

    def look(self) -> JournalState | None:
        """Ask the own controller now; None when it does not answer."""
        self._carry_out(QueryState())
        with self._changed:
            return self._facts.own.state if self._facts.own.failure is None else None

    def exchange(self, seconds: float = SHORT_SECONDS) -> JournalState | None:
        """Exchange with the other agent now; its controller's state, None when that does not answer."""
        with self._changed:
            told = message(self._facts)
        begun = now()
        try:
            answer = self._peer.exchange(told, seconds)
        except PairvolError as error:
            with self._changed:
                self._facts.not_heard(now(), error)
            return None
        with self._changed:
            self._facts.heard(now(), answer, begun)
            self._wake()
        self._look_for_two()
        return answer.state and self._facts.peer.state

    def tell_where(self) -> None:
        """The journal or a volume is read elsewhere now: ask the own controller where, and let the other agent know."""
        self._carry_out(QueryGroup())
        self.look()
        self.exchange()
        self.awaken()

    def peer_state(self, state: JournalState) -> None:
        """The other agent's controller answered something else than an exchange."""
        with self._changed:
            self._facts.peer_state(now(), state)

    def status(self) -> PairStatus:
        """From the last facts; a side that was not heard lately is asked first, with a short deadline."""
        with self._changed:
            own, limit = self._facts.own, self._around.settings.unknown_after_seconds
            stale = own.failure is not None or own.heard is None or now().seconds - own.heard.seconds > limit
            failed = self._facts.contact_failure
            just_tried = failed is not None and now().wall_ns - failed.time_ns < JUST_NS
            unsure = self._facts.peer.starts.doubted or peer_silent(self._facts, now(), self._around.settings)
        if stale:
            self.look()
        if unsure and not just_tried:
            self.exchange()
        with self._changed:
            return pair_status(self._facts, now(), self._around.settings)

    def seen(self) -> PairStatus | None:
        """As `status`, from the last facts alone, at once; None before both sides were asked."""
        with self._changed:
            return pair_status(self._facts, now(), self._around.settings) if asked(self._facts) else None

    def unknown_since(self, site: str) -> int:
        """When a side that did not answer just now was last heard: wall clock, in nanoseconds."""
        with self._changed:
            return unknown_since(self._facts, site, now(), self._around.settings)

    def ask(self, question: Callable[[Facts], Answer]) -> Answer:
        """What the facts say now; the question must not keep or change them."""
        with self._changed:
            return question(self._facts)

    def copy_to(self, sequence: int) -> None:
        """A copy up to there was commanded: see that it is done even if the controller forgets."""
        with self._changed:
            secondary = self._manager.secondary
            secondary.copy_to = max(secondary.copy_to or 0, sequence)

    def order_resync(self) -> None:
        """A person ordered the resync: it is begun also where it would not begin by itself."""
        with self._changed:
            self._manager.primary.resync_ordered = self._manager.secondary.resync_ordered = True
            self.awaken()

    def pause(self, seconds: float) -> None:
        """Wait until something new was heard, at most so long."""
        with self._changed:
            self._changed.wait(seconds)

    def keep(self, pair: Pair, instead_of: Pair | None = None) -> None:
        """Keep a changed pair durably and go on with it.

        `instead_of`: what the change was decided upon; ConflictError when its
        direction, generation or takeover was decided otherwise meanwhile.
        """
        with self._keeping:
            if instead_of is not None:
                refuse_decided(self._around.store.get(self.group), instead_of)
            self._around.store.put(pair)
            with self._changed:
                self._facts.turn(pair)
                self.awaken()

    def awaken(self) -> None:
        """A command changed something: look at once."""
        with self._changed:
            self._manager.awaken()
            self._wake()

    def take_seat(self) -> bool:
        """A command is here, and the host that drives does not answer: whether this one drives now."""
        self._claim(wanted=True)
        return self.driving.drives

    # -- the thread --------------------------------------------------------------------

    def _wake(self) -> None:
        self._woken = True
        self._changed.notify_all()

    def _main(self) -> None:
        while True:
            with self._changed:
                if self._stopping:
                    return
                self._woken = False
            self._claim()
            worker: CopyManager | Watch = self._watch if self.driving.stands_by else self._manager
            with self._changed:
                actions = worker.step(now(), self._facts)
            if not self.driving.stands_by:
                self._report()
                self._mark_copied()
            for action in actions:
                self._carry_out(action, worker)
            with self._changed:
                if not actions and not self._stopping:
                    rest = min(worker.rest_seconds(), self.driving.rest_seconds(now()))
                    self._changed.wait_for(lambda: self._woken or self._stopping, rest)

    def _mark_copied(self) -> None:
        """In band, for people: from here on the other site has a consistent copy."""
        with self._changed:
            order = self._copied.wanted(now(), self._facts, self._reporter.state)
        if order is not None:
            self._copied.put(now(), self._facts, order, self.driving.controller)

    def _claim(self, *, wanted: bool = False) -> None:
        """Renew the lease, and go on with the pair as the driver before this one left it."""
        known = self.pair
        pair = self.driving.renew(now(), known, wanted=wanted)
        with self._changed:
            drives = not self.driving.stands_by
            if drives is not self._facts.drives:
                self._facts.drives = drives
                self._facts.refusals.clear()  # of orders that were another's by then
                self._manager.awaken()
            self._facts.driver = self.driving.driver
        if pair != known:
            with suppress(ConflictError):  # a command was faster; what it kept is newer
                self.keep(pair)

    def _carry_out(self, action: Action, worker: CopyManager | Watch | None = None) -> None:
        """Do it, and note how it ended."""
        result: object
        moved, begun = False, now()
        try:
            result = None if self._stopping else self._call(action)
        except PairvolError as error:
            result, moved = error, self.driving.refused(error)
        except Exception as error:  # noqa: BLE001 - the boundary of a thread: seen, and retried at a slower pace
            _log.error("mistake in the program at %s of %s", type(action).__name__, self.group, exc_info=error)
            result = PairvolError(f"mistake in the program: {error!r}", hint="See the log of the host agent.")
        with self._changed:
            if not moved:
                self._facts.noted(now(), action, result, begun)
            if worker is not None:
                worker.ended(now(), action, not isinstance(result, PairvolError))
        if isinstance(action, QueryState) and isinstance(result, JournalState):
            self.driving.looked(begun, result)
        if isinstance(result, ExchangeAnswer):
            self._look_for_two()

    def _call(self, action: Action) -> object:
        return call(action, self.group, self.driving.controller, self._peer, self._save)

    def _save(self, pair: Pair) -> Pair:
        try:
            with self._keeping:
                self._around.store.put(pair)
        except ConflictError:  # a command of this site was faster; what it kept is newer
            return self._around.store.get(self.group)
        self._tell(kept(self.pair, pair))
        return self._around.store.find(self.group) or pair

    def _report(self) -> None:
        """Events, when something has changed; and the ledger."""
        with self._changed:
            told = self._reporter.changes(now(), self._facts)
            pair, state, lag = self._facts.pair, self._reporter.state, self._facts.behind
        self._tell(told)
        if state is not PairState.SMPL:
            self._around.history.note(pair, state, lag, now())

    def _look_for_two(self) -> None:
        """After a word from the other agent."""
        with self._changed:
            told = self._reporter.two(self._facts)
        self._tell(told)

    def _tell(self, tellings: list[Telling]) -> None:
        for each in tellings:
            self._around.events.emit(each.level, each.kind, each.text, each.facts, group=self.group)
