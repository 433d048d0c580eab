"""The thread that copies journals while an order holds, and the pace at which it asks.

Owns the data link's state as this side sees it. While journals arrive it asks
again after some times what taking them took, so that one group leaves the
processor to hosts, and many groups to each other. When none do it waits for a
fifth of the time for which none have, down to once a second: by then the agents
tell when there is something, and an order ends the wait. A turn costs much the
same however little it brings, so the shortest wait is what bounds its cost.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from controller.api.models import Compression, CopyMode, CopyOrder, CopySource
from controller.copy.activity import Activity
from controller.copy.bucket import Bucket, Lane
from controller.copy.link import DataLink, LinkMaker
from controller.copy.loop import Loop, OnEvent
from controller.copy.orders import CopyOrders
from controller.copy.pull import JournalPull, Outcome, Pulled
from controller.copy.remote import RemoteJournal
from controller.copy.ways import Ways
from controller.errors import PairvolError, PeerError
from controller.journal.pointers import PAGE_BYTES

POLL_SECONDS_MIN: Final = 0.010  # measured at 1,500 writes a second: half the processor time that 2 ms cost
POLL_SECONDS_MAX: Final = 1.0
ROOM_SECONDS: Final = 0.25  # between looks for room, should nobody tell that restore has moved
POLL_GROWTH: Final = 1.25  # from one look that finds nothing to the next: a fifth of the time that has passed
REST_SHARE: Final = 5.0  # after journals came: rest this many times what that took
REST_SECONDS_MAX: Final = 0.02
LINK_SECONDS_MAX: Final = 3.0  # of silence; a dead link must be seen within 5 s
DAMAGE_SECONDS: Final = 2.0  # between tries to read what arrived wrong three times
TELL_SECONDS: Final = 10.0  # between events that speak of windows read again


class JournalCopy(Loop):
    """Runs a JournalPull. `on_read` is called after already_read moved."""

    def __init__(
        self,
        pull: JournalPull,
        orders: CopyOrders,
        on_read: Callable[[], None],
        on_event: OnEvent,
        bucket: Bucket | None = None,
        link_type: LinkMaker = DataLink,
        ways: Ways | None = None,
    ) -> None:
        super().__init__("copy", on_event)
        self._link_type = link_type
        self._bucket = bucket or Bucket()
        self._ways = ways or Ways(on_event)
        self.pull = pull
        self.link_ok: bool | None = None
        self.link_contact_ns = 0
        self._contact_at: float | None = None  # the same moment, of the monotonic clock
        self._orders = orders
        self._on_read = on_read
        self._source: CopySource | None = None
        self._poll_seconds = POLL_SECONDS_MIN
        self._waits_for_room = False
        self._told_at = -TELL_SECONDS

    @property
    def order_active(self) -> bool:
        """Whether an order holds now."""
        with self.changed:
            return self._orders.active(time.monotonic()) is not None

    @property
    def link_silent_seconds(self) -> float | None:
        """Since the last good read over the data link, whatever was done to the machine's clock; None: none yet."""
        contact_at = self._contact_at
        return None if contact_at is None else round(time.monotonic() - contact_at, 3)

    def figures(self) -> dict[str, Any]:
        """What a snapshot says of the link: names as in models.JournalState."""
        return {
            "limit_bytes_per_second": self._bucket.limit,
            "limit_holds_back": self._bucket.holds_back,
            "compression": Compression.ZSTD if self.pull.compressed else Compression.NONE,
            "transfer_bytes": self._ways.nbd_bytes,
            "wire_bytes": self._ways.wire_bytes,
        }

    def take(self, order: CopyOrder) -> None:
        """A copy order, new or renewed."""
        with self.changed:
            self.order(explicit=self._orders.accept(order, time.monotonic()))

    def check(self, source: CopySource) -> None:
        """ConflictError for a source that this group does not follow."""
        self._orders.check(source)

    def room_freed(self) -> None:
        """Restore has moved; wakes the thread only when it waits for that."""
        if self._waits_for_room:
            self.wake()

    def turn(self) -> float | None:
        if self.done_unless(lambda: self.order_active):
            return None
        with self.changed:
            order, limit = self._orders.order, self._orders.limit
        assert order is not None
        if self.activity is Activity.RUNNING and (pause := self._bucket.wait_seconds(Lane.JOURNALS)):
            return pause
        self._bucket.moves(PAGE_BYTES)
        if order.source != self._source:
            way = self._ways.way(order.source.links, Lane.JOURNALS)
            remote = RemoteJournal(
                order.source, deadline_seconds=LINK_SECONDS_MAX, stop=self.stop, link_type=self._link_type, way=way
            )
            self.pull.connect(remote)
            self._source = order.source
        before, traffic = self.pull.rereads, self._ways.traffic[Lane.JOURNALS]
        spared, began = traffic.spared, time.monotonic()
        try:
            pulled = self.pull.step(limit)
        except PeerError:
            self.link_ok = False
            raise
        finally:
            self._bucket.moves(spared - traffic.spared)
        self.link_ok, self.link_contact_ns, self._contact_at = True, time.time_ns(), time.monotonic()
        if self.pull.rereads > before:
            self._tell_spoiled()
        if pulled.outcome is not Outcome.REREAD and self.failure is not None:
            self.right_again()
        return self._after(order, pulled, time.monotonic() - began)

    def _tell_spoiled(self) -> None:
        """A window failed its checksums: for people, once in a while; the count is in the state."""
        if time.monotonic() - self._told_at >= TELL_SECONDS:
            self._told_at = time.monotonic()
            message = f"what arrived failed its checksum and is read again, {self.pull.rereads} times by now"
            self.on_event("warning", "copy.reread", message, {"rereads": self.pull.rereads})

    def retry_seconds(self, error: PairvolError) -> float | None:
        """A record that arrived wrong is read again: whether the wire or the disk spoiled it cannot be known here."""
        return DAMAGE_SECONDS if "attempts" in error.facts else None

    def _after(self, order: CopyOrder, pulled: Pulled, took_seconds: float) -> float:
        """What follows from one step: who is told, and how long to wait."""
        moved = pulled.outcome in (Outcome.MOVED, Outcome.MORE)
        if order.mode is CopyMode.ONCE:
            self._account(order, pulled, moved)
        if moved:
            self._on_read()
            self._poll_seconds = POLL_SECONDS_MIN
        elif pulled.outcome is Outcome.NOTHING:
            self._poll_seconds = min(POLL_GROWTH * self._poll_seconds, POLL_SECONDS_MAX)
        self._waits_for_room = pulled.outcome is Outcome.FULL
        if pulled.outcome in (Outcome.MORE, Outcome.REREAD):
            return 0.0
        pause = ROOM_SECONDS if self._waits_for_room else self._poll_seconds
        if moved:
            pause = max(pause, min(REST_SHARE * took_seconds, REST_SECONDS_MAX))
        return max(pause, self._bucket.poll_seconds(PAGE_BYTES))

    def _account(self, order: CopyOrder, pulled: Pulled, moved: bool) -> None:
        with self.changed:
            if self._orders.order is not order:  # replaced while the step ran
                return
            if self._orders.limit is None:
                self._orders.limit = pulled.durable.sequence  # once: what was there when it was first looked at
            if self.pull.read.sequence >= self._orders.limit:
                self._orders.end()
            elif moved:
                self._orders.progressed(time.monotonic())

    def restart(self) -> None:
        self.pull.reset()
        self._source = None

    def finished(self) -> None:
        self.pull.close()
