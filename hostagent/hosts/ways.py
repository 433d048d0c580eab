"""Several addresses of one site: its hosts' agents, and last of all the stand-in that speaks for them.

Owns which address a request goes to. An agent that drives is preferred to one
that stands by, and one that answers to one that just did not. A request is
given to another address only when the first has surely not taken it, or when
it asks and changes nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import httpx

from controller.errors import PairvolError, PeerError, WrongSiteError
from hostagent.transport import Channel, unanswered

AVOID_SECONDS: Final = 3.0  # an address that did not answer comes after the others for so long
ASKING: Final = ("/peer/exchange", "/peer/hello")

Answer = TypeVar("Answer")


@dataclass(slots=True)
class _Way:
    channel: Channel
    stands_in: bool = False
    avoid_until: float = 0.0
    stands_by: bool = False
    silence: str | None = None  # why it did not answer last; None while it does


class Ways:
    """The channels to one site. Threads may share it."""

    def __init__(self, channels: Sequence[Channel], stand_in: Channel | None = None) -> None:
        self._ways = [_Way(channel) for channel in channels]
        if stand_in is not None:
            self._ways.append(_Way(stand_in, stands_in=True))
        self._lock = threading.Lock()

    @property
    def silence(self) -> str | None:
        """Why none of the site's own agents answers; None while one does."""
        with self._lock:
            words = [way.silence for way in self._ways if not way.stands_in]
            return words[0] if all(words) else None

    def call(self, kind: type[Answer], method: str, path: str, **options: Any) -> Answer:
        """As `Channel.call`."""
        return self._try(method, path, lambda channel: channel.call(kind, method, path, **options))

    def send(self, method: str, path: str, **options: Any) -> None:
        """As `Channel.send`."""
        self._try(method, path, lambda channel: channel.send(method, path, **options))

    def heard(self) -> None:
        """An agent of the site called, so it may be called too."""
        with self._lock:
            for way in self._ways:
                way.avoid_until = 0.0
                way.silence = None

    def _try(self, method: str, path: str, call: Callable[[Channel], Answer]) -> Answer:
        first: PairvolError | None = None
        for way in self._ordered():
            try:
                answer = call(way.channel)
            except PairvolError as error:
                if way.stands_in and isinstance(error, PeerError):
                    continue  # it reaches the controller no more than the site's own agents do
                if not unanswered(error):
                    self._answered(way)
                    raise
                self._silent(way, error)
                first = first or error
                if not (_never_sent(error) or method == "GET" or path in ASKING):
                    break
                continue
            self._answered(way, stands_by=getattr(answer, "drives", True) is False)
            return answer
        assert first is not None
        raise first

    def _ordered(self) -> list[_Way]:
        now = time.monotonic()
        with self._lock:
            return sorted(self._ways, key=lambda way: (way.avoid_until > now, way.stands_in, way.stands_by))

    def _answered(self, way: _Way, *, stands_by: bool = False) -> None:
        with self._lock:
            way.silence, way.avoid_until, way.stands_by = None, 0.0, stands_by

    def _silent(self, way: _Way, error: PairvolError) -> None:
        with self._lock:
            way.silence = error.message
            way.avoid_until = time.monotonic() + AVOID_SECONDS

    def close(self) -> None:
        for way in self._ways:
            way.channel.close()


def _never_sent(error: PairvolError) -> bool:
    return isinstance(error, WrongSiteError) or isinstance(error.__cause__, httpx.ConnectError | httpx.ConnectTimeout)
