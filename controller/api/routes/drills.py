"""/drills and /groups/NAME/drills: writable images of secondary volumes at one moment."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path

from controller.api.drills import Drill, DrillStamp, DrillStart, RestoreEndOrder
from controller.api.late import Noun
from controller.api.models import JournalState, Name
from controller.api.routes.dependencies import Here
from controller.drills import commands as drills
from controller.groups import commands as groups

noun = Noun(tags=["drills"])

Number = Annotated[int, Path(ge=1)]


@noun.get("/drills")
def all_drills(appliance: Here) -> list[Drill]:
    """The ledger: every drill of this site, open or over."""
    return drills.listed(appliance)


@noun.get("/groups/{name}/drills")
def of_group(appliance: Here, name: Name) -> list[Drill]:
    """The ledger of one group."""
    return drills.listed(appliance, name)


@noun.post("/groups/{name}/restore-end")
def restore_end(appliance: Here, name: Name, order: RestoreEndOrder) -> JournalState:
    """Let restore go on to a moment and stand there, for as long as this is renewed."""
    groups.set_restore_end(appliance, name, order)
    return groups.journal_state(appliance, name)


@noun.post("/groups/{name}/drills", status_code=201)
def start(appliance: Here, name: Name, order: DrillStart) -> Drill:
    """Hold restore where it is and serve a writable image of each volume."""
    return drills.start(appliance, name, order)


@noun.post("/groups/{name}/drills/{number}/renew")
def renew(appliance: Here, name: Name, number: Number) -> Drill:
    """Keep a drill that nobody has confirmed open for its lease; its host agent is alive."""
    return drills.renew(appliance, name, number)


@noun.post("/groups/{name}/drills/{number}/stamp")
def stamp(appliance: Here, name: Name, number: Number, order: DrillStamp) -> Drill:
    """Put into the ledger what was found out about a drill."""
    return drills.stamp(appliance, name, number, order)


@noun.delete("/groups/{name}/drills/{number}")
def stop(appliance: Here, name: Name, number: Number, unconfirmed: bool = False) -> Drill:
    """Drop the images; restore goes on when they were the last. Given again it changes nothing.

    With `unconfirmed`, only a drill that nobody has confirmed.
    """
    return drills.stop(appliance, name, number, unconfirmed=unconfirmed)
