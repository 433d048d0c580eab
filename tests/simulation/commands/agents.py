"""An agent whose commands are the real ones: what they need of a host, over simulated calls.

`SimRunner`, `SimController` and `SimPeer` stand where PairRunner,
ControllerClient and AgentClient stand in the product: the same calls, which
wait in simulated time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

from controller.api.models import JournalState
from controller.errors import ConflictError, PairvolError
from hostagent.api.models import ExchangeAnswer, Pair, PairStatus
from hostagent.copy_manager.actions import QueryState
from hostagent.copy_manager.facts import Facts
from hostagent.copy_manager.primary import message
from hostagent.copy_manager.side import Instant
from hostagent.decisions import refuse_decided
from hostagent.status import pair_status
from tests.simulation.agent import Agent, MakeManager

if TYPE_CHECKING:
    from tests.simulation.commands.fibers import Fiber
    from tests.simulation.commands.history import CommandHistory

Answer = TypeVar("Answer")

ASK_SECONDS = {"take_over": 90.0}
ORDER_SECONDS = 30.0


class SimAgent(Agent):
    """`fibers` are the commands that run in its process, and die with it."""

    def __init__(self, history: CommandHistory, site: str, pair: Pair, make_manager: MakeManager) -> None:
        self.history = history
        super().__init__(site, pair, history.instant, make_manager)

    def begin(self, instant: Instant) -> None:
        super().begin(instant)
        self.locked = False
        self.fibers: list[Fiber] = []

    def die(self) -> None:
        super().die()
        for fiber in self.fibers:
            fiber.crash()
        self.fibers = []

    def host(self, fiber: Fiber) -> Any:
        """What a command is given; its calls wait in this fiber."""
        runner = SimRunner(self, fiber)
        return SimpleNamespace(
            site=self.site,
            store=self.store,
            controller=SimController(self, fiber),
            peers=SimpleNamespace(get=lambda site: SimPeer(self, fiber)),
            runner=lambda group: runner,
            locks=SimpleNamespace(hold=lambda groups: self._hold(fiber)),
            events=SimpleNamespace(emit=lambda *words, **named: None),
            quiet=SimpleNamespace(configured=False),
            hosts=[],
            history=SimpleNamespace(took_over=lambda pair, entry: None),
            devices=SimpleNamespace(shown=list, detach=lambda name: None),
            config=SimpleNamespace(copying=self.settings, peers={}),
        )

    @contextmanager
    def _hold(self, fiber: Fiber) -> Iterator[None]:
        for _ in range(100):
            if not self.locked:
                break
            self.history.sleep(fiber, 0.1)
        else:
            raise ConflictError("group db is busy with another command", hint="Wait for it and try again.")
        self.locked, life = True, self.life
        try:
            yield
        finally:
            if life == self.life:
                self.locked = False


class SimController:
    """The own controller, as a command sees it."""

    def __init__(self, agent: SimAgent, fiber: Fiber) -> None:
        self._agent, self._fiber = agent, fiber

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*words: object, **named: object) -> Any:
            history, agent = self._agent.history, self._agent
            return history.call(
                self._fiber, ORDER_SECONDS, lambda finish: history.order(agent, name, words, named, finish)
            )

        return call


class SimPeer:
    """The other agent, as a command sees it."""

    def __init__(self, agent: SimAgent, fiber: Fiber) -> None:
        self._agent, self._fiber = agent, fiber

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*words: object) -> Any:
            history, agent = self._agent.history, self._agent
            seconds = ASK_SECONDS.get(name, ORDER_SECONDS)
            return history.call(self._fiber, seconds, lambda finish: history.ask_peer(agent, name, words, finish))

        return call


class SimRunner:
    """PairRunner's calls; see there."""

    def __init__(self, agent: SimAgent, fiber: Fiber) -> None:
        self._agent, self._fiber, self._history = agent, fiber, agent.history
        self.group = "db"

    @property
    def pair(self) -> Pair:
        return self._agent.facts.pair

    def look(self) -> JournalState | None:
        agent, action, begun = self._agent, QueryState(), self._history.instant
        try:
            result: object = SimController(agent, self._fiber).state("db")
        except PairvolError as error:
            result = error
        agent.facts.noted(self._history.instant, action, result, begun)
        return agent.facts.own.state if agent.facts.own.failure is None else None

    def exchange(self, seconds: float = 1.0) -> JournalState | None:
        history, agent = self._history, self._agent
        told, begun = message(agent.facts), history.instant
        try:
            answer = history.call(self._fiber, seconds, lambda finish: history.send(agent, told, finish))
        except PairvolError as error:
            agent.facts.not_heard(history.instant, error)
            return None
        assert isinstance(answer, ExchangeAnswer)
        agent.facts.heard(history.instant, answer, begun)
        history.wake(agent)
        return agent.facts.peer.state if answer.state is not None else None

    def peer_state(self, state: JournalState) -> None:
        self._agent.facts.peer_state(self._history.instant, state)

    def status(self) -> PairStatus:
        if self._agent.facts.own.failure is not None or self._agent.facts.own.heard is None:
            self.look()
        if self._agent.facts.contact is None:
            self.exchange()
        return pair_status(self._agent.facts, self._history.instant, self._agent.settings)

    def ask(self, question: Callable[[Facts], Answer]) -> Answer:
        return question(self._agent.facts)

    def order_resync(self) -> None:
        self._agent.manager.primary.resync_ordered = self._agent.manager.secondary.resync_ordered = True
        self.awaken()

    def pause(self, seconds: float) -> None:
        self._history.sleep(self._fiber, seconds)

    def keep(self, pair: Pair, instead_of: Pair | None = None) -> None:
        if instead_of is not None:
            refuse_decided(self.pair, instead_of)
        self._agent.store.put(pair)
        self._agent.facts.turn(pair)
        self.awaken()

    def awaken(self) -> None:
        self._agent.manager.awaken()
        self._history.wake(self._agent)
