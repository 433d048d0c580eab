"""Which copy order counts now: leases, limits, and what makes an order explicit.

Pure: the time is an argument. Not safe between threads by itself.
"""

from __future__ import annotations

from controller.api.models import CopyMode, CopyOrder, CopySource
from controller.errors import ConflictError


class CopyOrders:
    """The newest order of a group and how long it holds.

    A "follow" order holds for its lease; renewing it extends the lease. A
    "once" order holds until its sequence is here; its lease is how long it may
    go without progress. A "once" given while a "follow" holds does not end it.
    """

    def __init__(self, uuid: str, generation: int) -> None:
        self._uuid = uuid
        self._generation = generation
        self._order: CopyOrder | None = None
        self._until = 0.0
        self.limit: int | None = None  # pull no further than this sequence

    @property
    def order(self) -> CopyOrder | None:
        """The newest order taken, whether it still holds or not."""
        return self._order

    def accept(self, order: CopyOrder, now: float) -> bool:
        """Take an order; True when it is explicit. ConflictError: not this group, not this generation."""
        source = order.source
        self.check(source)
        active = self.active(now)
        changed = self._order is None or self._order.source != source
        explicit = changed or order.mode is CopyMode.ONCE
        if order.mode is CopyMode.ONCE and active is not None and active.mode is CopyMode.FOLLOW and not changed:
            return True
        self._order = order
        self._until = now + order.lease_seconds
        self.limit = order.to_sequence
        return explicit

    def check(self, source: CopySource) -> None:
        """Refuse a source that is not this group's, or not of its generation."""
        if source.uuid != self._uuid:
            raise ConflictError(
                f"copy order from {source.site} is for group {source.uuid}, this one is {self._uuid}",
                hint="Delete the pair at the site where it is wrong and create it again.",
            )
        if source.generation != self._generation:
            raise ConflictError(
                f"copy order from {source.site} is of generation {source.generation}, "
                f"the group here is at {self._generation}",
                hint="The other side was taken over, or this one was; look at the pair's status.",
                generation=self._generation,
            )

    def active(self, now: float) -> CopyOrder | None:
        """The order that holds at this moment."""
        return self._order if now < self._until else None

    def progressed(self, now: float) -> None:
        """Something was pulled: a "once" order may go on."""
        if self._order is not None and self._order.mode is CopyMode.ONCE:
            self._until = now + self._order.lease_seconds

    def end(self) -> None:
        """The order is fulfilled."""
        self._until = 0.0
