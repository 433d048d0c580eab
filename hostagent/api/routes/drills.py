"""/drills and /peer/drills: drills of a pair, carried out at its secondary site."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from controller.api.models import Name
from hostagent.api.drills import DrillOrder, DrillReport
from hostagent.api.routes.dependencies import Here
from hostagent.drills import commands as drills

router = APIRouter(tags=["drills"])

Number = Annotated[int | None, Query(ge=1)]


@router.get("/drills")
def listed(host: Here, group: Name | None = None) -> list[DrillReport]:
    """The ledger: of a group, or of this site."""
    return drills.listed(host, group)


@router.post("/drills/{group}", status_code=201)
def start(host: Here, group: Name, order: DrillOrder) -> DrillReport:
    """Open writable images of the secondary volumes, and check them."""
    return drills.start(host, group, order)


@router.delete("/drills/{group}")
def stop(host: Here, group: Name, number: Number = None) -> list[DrillReport]:
    """Drop one drill, or all of a group."""
    return drills.stop(host, group, number)


@router.get("/peer/drills")
def listed_forwarded(host: Here, group: Name | None = None) -> list[DrillReport]:
    """The other agent asks."""
    return drills.listed(host, group, forwarded=True)


@router.post("/peer/drills/{group}", status_code=201)
def start_forwarded(host: Here, group: Name, order: DrillOrder) -> DrillReport:
    """A drill that the other agent was asked for."""
    return drills.start(host, group, order, forwarded=True)


@router.delete("/peer/drills/{group}")
def stop_forwarded(host: Here, group: Name, number: Number = None) -> list[DrillReport]:
    """The end of a drill that the other agent was asked for."""
    return drills.stop(host, group, number, forwarded=True)
