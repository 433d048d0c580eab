"""/peer/quiet: hosts of one site make each other quiet for a moment. Never handed on."""

from __future__ import annotations

from controller.api.late import Noun
from controller.api.models import Name
from hostagent.api.drills import QuietHost, QuietOrder
from hostagent.api.routes.dependencies import Here
from hostagent.hooks import site

noun = Noun("/peer/quiet", tags=["between agents"])


@noun.post("/{group}")
def begin(host: Here, group: Name, order: QuietOrder) -> QuietHost:
    """Run the commands before, and freeze what is mounted here."""
    return QuietHost(points=site.begin_here(host.quiet, group, order))


@noun.delete("/{group}", status_code=204)
def end(host: Here, group: Name, good: bool) -> None:
    """Thaw, and run the commands after."""
    host.quiet.end(group, good=good)
