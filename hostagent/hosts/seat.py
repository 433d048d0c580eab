"""Whether this agent drives a pair at its controller: one host's side of the lease (HOSTS.md).

Pure, and must not know the pair: it says when to claim, and takes the answers.
Safety is the controller's, which refuses orders without the token of now; a
seat only decides what is worth trying.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from controller.api.drivers import DriverClaim, DriverLease

HOST_RANK: Final = 2
STAND_IN_RANK: Final = 1
RENEW_SHARE: Final = 1 / 2  # of the lease; whoever works looks more often than that
AGAIN_SECONDS: Final = 0.5  # after a claim that the controller did not answer
NO_TOKEN: Final = "none"  # is nobody's: orders of an agent that does not drive are refused


class Place(StrEnum):
    UNKNOWN = "unknown"  # the controller has not said
    DRIVES = "drives"
    STANDS_BY = "stands by"


@dataclass(slots=True)
class Seat:
    """Of one agent, for one pair; not for several threads at once."""

    agent: str
    lease_seconds: float
    beat_seconds: float
    stands_in: bool = False
    place: Place = field(init=False)
    driver: str | None = None  # as the controller said last
    token: str = NO_TOKEN
    _next: float = 0.0
    _free_since: float | None = None
    _looks_renew: bool = False

    def __post_init__(self) -> None:
        self.place = Place.STANDS_BY if self.stands_in else Place.UNKNOWN

    def rest_seconds(self, now: float) -> float:
        """Until the next claim is due."""
        return max(0.0, self._next - now)

    def claim(self, now: float, *, wanted: bool = False) -> DriverClaim:
        """What to ask; `wanted`: a command waits for this agent to drive."""
        patient = self._free_since is not None and now - self._free_since >= self.lease_seconds
        return DriverClaim(
            agent=self.agent,
            rank=STAND_IN_RANK if self.stands_in else HOST_RANK,
            lease_seconds=self.lease_seconds,
            take=not self.stands_in or self.place is Place.DRIVES or patient or wanted,
        )

    def answered(self, now: float, lease: DriverLease) -> None:
        """The controller said who drives."""
        self.driver = lease.driver
        if lease.token is not None and lease.driver == self.agent:
            self.place, self.token, self._free_since = Place.DRIVES, lease.token, None
            self._looks_renew = lease.looks_renew
            self._next = now + RENEW_SHARE * self.lease_seconds
            return
        self.place, self.token = Place.STANDS_BY, NO_TOKEN
        self._next = now + self.beat_seconds
        if lease.driver is not None and lease.seconds_left > 0:
            self._free_since = None
        elif self._free_since is None:
            self._free_since = now

    def looked(self, asked: float, driver: str | None) -> None:
        """A look with the token, asked at that time, named the driver."""
        if self.place is not Place.DRIVES or not self._looks_renew:
            return
        if driver == self.agent:
            self._next = max(self._next, asked + RENEW_SHARE * self.lease_seconds)
        else:
            self._next = 0.0

    def failed(self, now: float) -> None:
        """The controller did not answer, or has no such group."""
        self._next, self._free_since = now + AGAIN_SECONDS, None
        if self.stands_in:  # what it cannot reach it must not speak for
            self.place, self.token, self.driver = Place.STANDS_BY, NO_TOKEN, None

    def refused(self) -> None:
        """An order was refused because of its token: ask at once."""
        self._next = 0.0
