"""`journal drop`: the end of a kept tail of journals, at the site of the agent that is asked.

One step, the controller's own; given again after it, there is no such tail.
"""

from __future__ import annotations

from controller.api.lifecycle import Orphan
from controller.errors import ConflictError
from controller.units import counted, format_size
from hostagent.host import Host
from hostagent.orphans import named


def drop(host: Host, group: str, name: str, *, force: bool) -> Orphan:
    """Drop the journals of a tail that no other site has; refused, with their count, unless that is forced."""
    orphan = named(host.controller.orphans(group), group, name)
    if not force:
        raise ConflictError(
            f"cannot drop orphan tail {orphan.name} of {group}: its {counted(orphan.journals, 'journal')} "
            f"({format_size(orphan.data_bytes)}) are at {host.site} only",
            hint=f'Look at them with "pairvol journal dump {group} --orphan {orphan.name}"; add --force to drop them.',
            group=group,
            orphan=orphan.name,
            journals=orphan.journals,
            data_bytes=orphan.data_bytes,
        )
    host.controller.drop_orphan(group, orphan.name)
    return orphan
