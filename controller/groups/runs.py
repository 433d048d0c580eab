"""In-band runs of a group: ordered of the primary's volume server, which carries them out."""

from __future__ import annotations

from controller import plans, serving
from controller.api.runs import RunOrder, RunState
from controller.appliance import Appliance
from controller.groups.primary import require_primary


def order_run(appliance: Appliance, name: str, order: RunOrder) -> RunState:
    """Begin a run, let one that failed go on, or cancel it; the same order again changes nothing."""
    with appliance.locks.hold(groups=[name]):
        group = require_primary(appliance, name)
        server = plans.group_server(group)
        answer = serving.command(appliance, server, "run", run=order.model_dump(mode="json"))
    return RunState.model_validate(answer["run"])
