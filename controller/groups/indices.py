"""Which numbers a volume that joins a group may get.

A journal names its volume by number. The number of a volume that left is not
given again while a journal that speaks of it can still be here.
"""

from __future__ import annotations

from typing import Final

from controller.api.models import Role
from controller.appliance import Appliance
from controller.journal.pointers import Pointer
from controller.state import GroupRecord

VOLUMES_MAX: Final = 64


def free_indices(appliance: Appliance, group: GroupRecord) -> list[int]:
    """Free numbers at this site, those that no volume ever had first."""
    page = appliance.open_groups.get(group).page
    behind = page.read(Pointer.ALREADY_RESTORED if group.role is Role.SECONDARY else Pointer.JOURNAL_OUT).sequence
    taken = {volume.index for volume in (*group.volumes, *group.joining)}
    fresh = [index for index in range(VOLUMES_MAX) if index not in taken and index not in group.retired]
    drained = [index for index, newest in sorted(group.retired.items()) if index not in taken and newest <= behind]
    return fresh + drained
