"""Which host agent drives each group: leases, tokens, and orders under way.

Owns the rule that the orders of one driver at most are taken at any moment
(hostagent/hosts/HOSTS.md). In memory: after a start the first agent to claim drives.
Decides nothing about who should drive beyond rank and time.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from controller.api.drivers import DriverClaim, DriverLease
from controller.errors import ConflictError


@dataclass(slots=True)
class _Seat:
    agent: str
    rank: int
    token: str
    lease_seconds: float
    until: float
    orders: int = 0  # of this driver, being carried out
    looks: int = 0  # of this driver


class Drivers:
    """Any thread may call; nothing here waits."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._seats: dict[str, _Seat] = {}

    def claim(self, group: str, claim: DriverClaim) -> DriverLease:
        """Renew, take, or be told who drives."""
        with self._lock:
            now, seat = self._clock(), self._seats.get(group)
            if seat is not None and seat.agent == claim.agent:
                seat.lease_seconds, seat.until, seat.rank = claim.lease_seconds, now + claim.lease_seconds, claim.rank
                return _granted(seat)
            free = seat is None or seat.until <= now or claim.rank > seat.rank
            idle = seat is None or seat.orders == 0
            if claim.take and free and idle:
                until = now + claim.lease_seconds
                seat = _Seat(claim.agent, claim.rank, secrets.token_hex(8), claim.lease_seconds, until)
                self._seats[group] = seat
                return _granted(seat)
            if seat is None:
                return DriverLease()
            return DriverLease(driver=seat.agent, seconds_left=max(0.0, seat.until - now))

    def looked(self, group: str, token: str) -> None:
        """Somebody looked at the group: a lease is renewed by its token; another token is no fault of a look."""
        with self._lock:
            seat = self._seats.get(group)
            if seat is not None and seat.token == token:
                seat.until = self._clock() + seat.lease_seconds
                seat.looks += 1

    def looks(self, group: str) -> tuple[str, int]:
        """The driver's token, and how often it has looked: another answer means that something concerns it now."""
        with self._lock:
            seat = self._seats.get(group)
            return (seat.token, seat.looks) if seat is not None else ("", 0)

    def release(self, group: str, agent: str) -> None:
        """A driver ends in order: whoever claims next need not wait."""
        with self._lock:
            seat = self._seats.get(group)
            if seat is not None and seat.agent == agent:
                seat.until = self._clock()

    def holder(self, group: str) -> str | None:
        """Who drives now; None when nobody has a lease that runs."""
        with self._lock:
            seat = self._seats.get(group)
            return seat.agent if seat is not None and seat.until > self._clock() else None

    @contextmanager
    def order(self, group: str, token: str) -> Iterator[None]:
        """While an order of a driver is carried out; ConflictError for a token that is not the one of now."""
        with self._lock:
            seat = self._seats.get(group)
            if seat is None or seat.token != token:
                raise ConflictError(
                    f"group {group} is driven by {seat.agent}" if seat else f"group {group} is driven by nobody yet",
                    hint="The agent that drives goes on by itself; another stands by.",
                    group=group,
                    driver=seat.agent if seat else None,
                )
            seat.orders += 1
        try:
            yield
        finally:
            with self._lock:
                seat.orders -= 1

    def forget(self, group: str) -> None:
        """The group is gone."""
        with self._lock:
            self._seats.pop(group, None)


def _granted(seat: _Seat) -> DriverLease:
    return DriverLease(driver=seat.agent, seconds_left=seat.lease_seconds, token=seat.token, looks_renew=True)
