"""/groups/NAME/run: ranges of a primary's volumes, brought into its journal in band."""

from __future__ import annotations

from controller.api.late import Noun
from controller.api.models import Name
from controller.api.routes.dependencies import Here
from controller.api.runs import RunOrder, RunState
from controller.groups import commands as groups

noun = Noun("/groups", tags=["runs"])


@noun.post("/{name}/run", status_code=202)
def order(appliance: Here, name: Name, order: RunOrder) -> RunState:
    """Begin a run, or let one that failed go on; how far it is, is in the journal state."""
    return groups.order_run(appliance, name, order)
