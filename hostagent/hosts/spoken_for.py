"""What status says while a stand-in speaks for a site whose own agent is silent. Words only; pure.

It is a WARN: data is as safe as before, but the host that would mount the
volumes is gone, and nobody is left to stand in.
"""

from __future__ import annotations

from hostagent.api.models import PairStatus, Verdict
from hostagent.copy_manager.facts import Facts
from hostagent.copy_manager.observe import Unknown


def spoken_for(status: PairStatus, facts: Facts, unknown: tuple[Unknown, ...]) -> PairStatus:
    """The status with that added, when it is so."""
    site = facts.peer_site
    if not facts.peer_stands_in or any(side.site == site for side in unknown):
        return status
    verb = "drives" if facts.peer_drives else "watches"
    words = f"{facts.peer_host} {verb} the storage controller of {site}"
    cause = f"the host agent of {site} does not answer"
    changed: dict[str, object] = {"line": f"{status.line}; {words}, {cause}"}
    if status.verdict is Verdict.OK:
        changed |= {"verdict": Verdict.WARN, "cause": cause, "next_command": "pairvol check"}
    return status.model_copy(update=changed)
