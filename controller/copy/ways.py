"""Which way the data link of one secondary group goes: straight to the primary's servers, or compressed.

Owns the choice for each new connection, and what crossed the wire. A relay
that cannot be used never stops a pair: the other site is read without
compression, the relay is tried again at growing intervals, and people are
told once when it stays away and once when it is back. Knows nothing of
journals.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from controller.api.models import Links
from controller.copy.bucket import Lane
from controller.copy.loop import OnEvent
from controller.copy.relayed import Relayed, refusal
from controller.relay.frames import Target

RETRY_SECONDS_MIN: Final = 1.0
RETRY_SECONDS_MAX: Final = 30.0
FAILURES_TOLD: Final = 2  # a relay that is started again is back by then


@dataclass(slots=True)
class Traffic:
    """What one lane moved: bytes for NBD, and bytes on the wire. Counted by one thread or two; read by any."""

    nbd_bytes: int = 0
    wire_bytes: int = 0

    def count(self, nbd: int, wire: int) -> None:
        with _counting:
            self.nbd_bytes += nbd
            self.wire_bytes += wire

    @property
    def spared(self) -> int:
        """Bytes that did not cross the wire."""
        return self.nbd_bytes - self.wire_bytes


_counting: Final = threading.Lock()


class Ways:
    """One for each secondary group; any thread may call. `clock`: seconds that never step."""

    def __init__(self, on_event: OnEvent, clock: Callable[[], float] = time.monotonic) -> None:
        self.traffic = {lane: Traffic() for lane in Lane}
        self._on_event = on_event
        self._clock = clock
        self._lock = threading.Lock()
        self._shut = False  # connections go straight until a probe has found the relay again
        self._probing = False
        self._failures = 0
        self._retry_at = 0.0
        self._cause = ""
        self._told = False

    def way(self, links: Links, lane: Lane) -> Way:
        """For connections to a primary at these addresses."""
        return Way(self, links, self.traffic[lane])

    @property
    def nbd_bytes(self) -> int:
        """Read from the other site, over all lanes."""
        return sum(traffic.nbd_bytes for traffic in self.traffic.values())

    @property
    def wire_bytes(self) -> int:
        """What crossed the wire for it."""
        return sum(traffic.wire_bytes for traffic in self.traffic.values())

    @property
    def usable(self) -> bool:
        """Whether the relay is to be used now."""
        return not self._shut

    def failed(self, words: str) -> None:
        """The relay could not be used."""
        with self._lock:
            if not self._shut:
                self._fail(words)

    def works(self) -> None:
        """Something came through the relay as it should."""
        with self._lock:
            told, self._told, self._failures = self._told, False, 0
        if told:
            self._on_event("info", "copy.compression_back", "the copy is compressed again", {})

    def went_straight(self) -> None:
        """The other site was read round the relay: people are told when that is not for a moment."""
        with self._lock:
            tell = self._shut and self._failures >= FAILURES_TOLD and not self._told
            self._told |= tell
        if tell:
            message = f"the compressed link does not work, the copy goes on without compression: {self._cause}"
            self._on_event("warning", "copy.compression_lost", message, {"cause": self._cause})

    def broke_straight(self) -> None:
        """Nor does the straight way work: it was not the relay."""
        with self._lock:
            self._shut, self._failures = False, 0

    def probe(self, attempt: Callable[[], str | None]) -> None:
        """Look for the relay when it is time to, beside the link that works; `attempt` answers what is wrong."""
        with self._lock:
            if not self._shut or self._probing or self._clock() < self._retry_at:
                return
            self._probing = True
        threading.Thread(target=self._probe, args=(attempt,), name="probe", daemon=True).start()

    def _probe(self, attempt: Callable[[], str | None]) -> None:
        words = attempt()
        with self._lock:
            self._probing = False
            if words is None:
                self._shut = False
            elif self._shut:
                self._fail(words)

    def _fail(self, words: str) -> None:
        self._shut, self._cause = True, words
        self._retry_at = self._clock() + min(RETRY_SECONDS_MIN * 2**self._failures, RETRY_SECONDS_MAX)
        self._failures += 1


class Way:
    """To one primary, for one lane."""

    def __init__(self, ways: Ways, links: Links, traffic: Traffic) -> None:
        self._traffic = traffic
        self._ways = ways
        self._relay = urlsplit(f"//{links.relay}") if links.relay is not None else None
        self._volumes = frozenset(links.volume_uris.values())

    @property
    def compressed(self) -> bool:
        """Whether a connection that is made now goes through the relay."""
        return self._relay is not None and self._ways.usable

    def begin(self, uri: str, seconds: float) -> Relayed:
        """A connection through the relay to the server of an NBD address; made by a thread of its own."""
        target = Target.VOLUMES if uri in self._volumes else Target.JOURNAL
        return Relayed(self._address, target, seconds, self._traffic.count)

    def broke(self, end: Relayed | None) -> None:
        """A connection broke; None: one that went straight.

        One through which something was read before says nothing against the relay.
        """
        if end is None:
            self._ways.broke_straight()
        elif end.failure is not None:
            self._ways.failed(end.failure)
        elif not end.proved:
            self._ways.failed("nothing can be read through the relay")

    def moved(self, end: Relayed | None, count: int) -> None:
        """So many bytes were read as they should; None: straight."""
        if end is not None:
            end.proved = True
            self._ways.works()
            return
        self._traffic.count(count, count)
        if self._relay is not None:
            self._ways.went_straight()

    def probe(self, seconds: float) -> None:
        """Look whether the relay is back, when it is time to."""
        if self._relay is not None:
            self._ways.probe(lambda: refusal(self._address, seconds))

    @property
    def _address(self) -> tuple[str, int]:
        assert self._relay is not None
        return self._relay.hostname or "", self._relay.port or 0
