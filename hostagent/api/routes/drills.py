"""/drills and /peer/drills: drills of a pair, carried out at its secondary site."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

from controller.api.late import Noun
from controller.api.models import Name
from hostagent.api.drills import DrillLedger, DrillOrder, DrillReport
from hostagent.api.routes.dependencies import Here
from hostagent.drills import commands as drills

noun = Noun(tags=["drills"])

Number = Annotated[int | None, Query(ge=1)]
OfDrill = Annotated[int, Path(ge=1)]


@noun.get("/drills")
def ledger(host: Here, group: Name | None = None) -> DrillLedger:
    """The ledger: of a group, or all."""
    return drills.ledger(host, group)


@noun.post("/drills/{group}", status_code=201)
def start(host: Here, group: Name, order: DrillOrder) -> DrillReport:
    """Open writable images of the secondary volumes, and check them."""
    return drills.start(host, group, order)


@noun.post("/drills/{group}/{number}/confirm")
def confirm(host: Here, group: Name, number: OfDrill) -> DrillReport:
    """Whoever asked for a drill knows that it is open: it stays so until it is stopped."""
    return drills.confirm(host, group, number)


@noun.delete("/drills/{group}")
def stop(host: Here, group: Name, number: Number = None) -> list[DrillReport]:
    """Drop one drill, or all of a group."""
    return drills.stop(host, group, number)


@noun.get("/peer/drills")
def here(host: Here, group: Name | None = None) -> list[DrillReport]:
    """The other agent asks what was here."""
    return drills.here(host, group)


@noun.post("/peer/drills/{group}", status_code=201)
def start_forwarded(host: Here, group: Name, order: DrillOrder) -> DrillReport:
    """A drill that the other agent was asked for."""
    return drills.start(host, group, order, forwarded=True)


@noun.post("/peer/drills/{group}/{number}/confirm")
def confirm_forwarded(host: Here, group: Name, number: OfDrill) -> DrillReport:
    """A confirmation that the other agent was given."""
    return drills.confirm(host, group, number, forwarded=True)


@noun.delete("/peer/drills/{group}")
def stop_forwarded(host: Here, group: Name, number: Number = None) -> list[DrillReport]:
    """The end of a drill that the other agent was asked for."""
    return drills.stop(host, group, number, forwarded=True)
