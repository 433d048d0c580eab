"""Calls that a command waits for, in a fiber; and what one agent orders from the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from controller.errors import PairvolError, PeerError
from hostagent.api.routes import life, peer
from hostagent.commands import takeover
from hostagent.life import commands
from tests.simulation.commands.agents import SimAgent
from tests.simulation.commands.fibers import Fiber
from tests.simulation.commands.orders import Site
from tests.simulation.faults import Faults
from tests.simulation.network import Finish

REMOTE: dict[str, Callable[..., object]] = {
    "serve": peer.serve,
    "attachments": lambda host, *words: [],
    "fence": peer.fence,
    "split_side": life.split_side,
    "resync_side": life.resync_side,
    "split": lambda host, group, order: commands.split(host, group, order, forwarded=True),
    "resync": lambda host, group, order: commands.resync(host, group, order, forwarded=True),
    "take_over": lambda host, group, order: takeover.take_over(host, group, order, forwarded=True),
}


class Calls(Faults[SimAgent, Site]):
    """Programs that wait in simulated time."""

    def call(self, fiber: Fiber, seconds: float, begin: Callable[[Finish], None]) -> Any:
        """Begin something, and wait for its end at most so long; an error that it ends with is raised."""
        ended = False

        def finish(result: object) -> None:
            nonlocal ended
            if not ended and not fiber.ended and not fiber.crashed:
                ended = True
                fiber.resume(result)

        self.stepped(fiber)
        self.after(seconds, lambda: finish(PeerError("no answer in time")))
        begin(lambda result: self.after(0.0, lambda: finish(result)))
        result = fiber.wait()
        if isinstance(result, PairvolError):
            raise result
        return result

    def sleep(self, fiber: Fiber, seconds: float) -> None:
        self.after(seconds, lambda: None if fiber.ended or fiber.crashed else fiber.resume())
        fiber.wait()

    def stepped(self, fiber: Fiber) -> None:
        """A command is about to do its next step."""

    def spawn(self, agent: SimAgent, body: Callable[[Fiber], object], finish: Finish) -> Fiber:
        """Run a program in the process of an agent; its result, or the error that ended it."""

        def main(fiber: Fiber) -> None:
            result: object
            try:
                result = body(fiber)
            except PairvolError as error:
                result = error
            finish(result)

        fiber = Fiber(main)
        agent.fibers.append(fiber)
        self.after(0.0, lambda: None if fiber.crashed else fiber.resume())
        return fiber

    def ask_peer(self, sender: SimAgent, name: str, words: tuple[Any, ...], finish: Finish) -> None:
        receiver = self.agents[self.other(sender.site)]

        def answer(result: object) -> None:
            if self.chance.random() >= self.loss / 2:
                self.after(self.delay(), lambda: finish(result) if self.link_up else None)

        def arrive() -> None:
            if not self.link_up:
                return
            if not receiver.up:
                finish(PeerError("connection refused"))
                return
            self.spawn(receiver, lambda fiber: REMOTE[name](receiver.host(fiber), *words), answer)

        if self.chance.random() >= self.loss / 2:
            self.after(self.delay(), arrive)
