"""What the commands of a pair's life have in common: both sites asked, and waiting for what the managers do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from controller.api.models import JournalState
from controller.errors import ConflictError, PeerError
from hostagent.api.models import Pair
from hostagent.copy_manager.runner import PairRunner
from hostagent.host import Host

ANSWER_SECONDS: Final = 2.0
BEGIN_SECONDS: Final = 10.0  # until a resync, or the other direction, has begun
LOOK_SECONDS: Final = 0.1


def both(host: Host, runner: PairRunner, pair: Pair, verb: str) -> tuple[JournalState, JournalState]:
    """Both controllers' states now; PeerError names the one that does not answer."""
    own, other = runner.look(), runner.exchange(ANSWER_SECONDS)
    there = pair.secondary.site if pair.primary.site == host.site else pair.primary.site
    for site, state in ((host.site, own), (there, other)):
        if state is None:
            raise PeerError(
                f"cannot {verb} {pair.group}: {site} does not answer",
                hint=f'See "pairvol pair status {pair.group}"; nothing was changed.',
                group=pair.group,
            )
    assert own is not None
    assert other is not None
    return own, other


def wait_begun(runner: PairRunner, reached: Callable[[], bool], seconds: float = BEGIN_SECONDS) -> bool:
    """Look now and then until it is so; whether it became so in time."""
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() >= deadline:
            return False
        runner.pause(LOOK_SECONDS)
    return True


def refuse_forwarded(host: Host, pair: Pair, forwarded: bool) -> None:
    if forwarded:
        raise ConflictError(
            f"the two agents of {pair.group} do not agree yet which site serves it",
            hint="They tell each other within seconds; give the command again.",
            group=pair.group,
            site=host.site,
        )
