"""Who drives a group, and what host agents keep beside it: shapes only. See hostagent/hosts/HOSTS.md."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field

from controller.api.models import Count, Name, Shape

DRIVER_HEADER: Final = "pairvol-driver"  # the token of whoever gives an order as driver
LEASE_HEADER: Final = "pairvol-lease"  # the token of whoever looks, and drives on if it is the one of now


class DriverClaim(Shape):
    """A host agent asks who drives, and drives itself if that is free or of a lower rank."""

    agent: Name
    rank: Count = 0
    lease_seconds: Annotated[float, Field(gt=0, le=3600)] = 6.0
    take: bool = True  # False: only ask


class DriverLease(Shape):
    """Who drives a group now."""

    driver: Name | None = None
    seconds_left: float = 0.0
    token: str | None = None  # for the driver alone: its orders carry it
    looks_renew: bool = False  # whether a look with the token renews the lease
    record: dict[str, Any] | None = None  # of the pair, as the last driver kept it


class KeptPair(Shape):
    """A group, and what the host agents keep of its pair."""

    group: Name
    uuid: str
    record: dict[str, Any] | None = None
