"""All hosts of this site made quiet together, around one moment of a group.

Each host runs its own commands and freezes what it has mounted. A host that
does not answer is told of, and does not hold the others up; one that refuses
ends the attempt. Every host goes on by itself when its time is over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial

from controller.errors import PairvolError
from hostagent.api.drills import QuietHost, QuietOrder
from hostagent.hooks.quiet import Quiet
from hostagent.host import Host
from hostagent.transport import Channel, unanswered


@dataclass
class Stillness:
    """Which mount points stand still, as HOST:POINT, and which hosts did not answer."""

    frozen: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)


@contextmanager
def quiet(
    host: Host, group: str, event: str, marker: str = "", *, freeze: bool, strict: bool = True
) -> Iterator[Stillness]:
    """The hosts of the site are quiet within; they go on whatever happens.

    `strict`: raise at the end when the quiet did not last, or commands after
    it failed. An event tells of that in any case.
    """
    pair = host.store.get(group)
    order = QuietOrder(
        volumes=(pair.primary if pair.primary.site == host.site else pair.secondary).volumes,
        environment={"PAIRVOL_EVENT": event, "PAIRVOL_MARKER": marker},
        freeze=freeze,
    )
    still = Stillness()
    failures: list[PairvolError] = []
    with ExitStack() as stack:
        good = [False]

        def let_go(end: Callable[[bool], None]) -> None:
            try:
                end(good[0])
            except PairvolError as error:
                failures.append(error)

        for name, channel in host.hosts.items():
            answer = _tell(host, channel, group, order)
            if answer is None:
                still.silent.append(name)
                continue
            stack.callback(let_go, partial(_end_there, host, channel, group))
            still.frozen += [f"{name}:{point}" for point in answer.points]
        points = begin_here(host.quiet, group, order)
        stack.callback(let_go, lambda well: host.quiet.end(group, good=well))
        still.frozen += [f"{host.config.host_name}:{point}" for point in points]
        yield still
        good[0] = True
    if failures and strict:
        raise failures[0]


def begin_here(own: Quiet, group: str, order: QuietOrder) -> list[str]:
    return own.begin(group, order.volumes, order.environment, freeze=order.freeze)


def _tell(host: Host, channel: Channel, group: str, order: QuietOrder) -> QuietHost | None:
    seconds = 3 * host.config.hooks.timeout_seconds + 5
    try:
        return channel.call(QuietHost, "POST", f"/peer/quiet/{group}", body=order, seconds=seconds)
    except PairvolError as error:
        if unanswered(error):
            return None
        raise


def _end_there(host: Host, channel: Channel, group: str, good: bool) -> None:
    seconds = 2 * host.config.hooks.timeout_seconds + 5
    channel.send("DELETE", f"/peer/quiet/{group}", query={"good": good}, seconds=seconds)
