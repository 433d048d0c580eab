"""Whether a group is at rest in its state: nothing under way speaks of its volumes as they are.

What changes the volumes of a group (their length, their number) asks here first.
"""

from __future__ import annotations

from controller import plans
from controller.api.models import AcquisitionMode, CopyState, Role, SplitMode
from controller.api.runs import RunPhase
from controller.appliance import Appliance
from controller.drills.commands import refuse_open
from controller.errors import ConflictError
from controller.groups.suspension import read_map
from controller.state import GroupRecord, Phase


def refuse_unsteady(appliance: Appliance, group: GroupRecord, doing: str) -> None:
    """ConflictError, with the reason, unless the group is a primary or secondary in step with its partner."""
    if group.role is Role.SECONDARY:
        refuse_open(group, doing)
    reason = _reason(appliance, group)
    if reason:
        raise ConflictError(
            f"cannot {doing}: {reason}",
            hint=f'Let the pair be in state PAIR first: "pairvol pair wait {group.name} --state PAIR"; '
            f'one that is split or stopped comes back by "pairvol pair resync {group.name}".',
            group=group.name,
        )


def _reason(appliance: Appliance, group: GroupRecord) -> str:
    if group.role not in (Role.PRIMARY, Role.SECONDARY) or group.phase is not Phase.READY:
        return f"group {group.name} is {group.role} here ({group.phase})"
    if group.quiesced:
        return f"group {group.name} refuses writes for a planned takeover"
    if group.split is not SplitMode.OFF:
        return f"group {group.name} is split"
    if read_map(appliance, group) is not None:
        return f"group {group.name} has changed regions that are not copied yet"
    if group.role is Role.SECONDARY:
        seen = appliance.workers.get(group).snapshot()
        if seen.initial_copy.state is not CopyState.DONE or seen.initial_copy.pending or seen.safe_point.open:
            return f"a copy of group {group.name} is under way"
        return ""
    status = appliance.statuses.get(plans.group_server(group), fresh=True)
    run = status.get("run")
    if status["mode"] != AcquisitionMode.JOURNAL:
        return f"group {group.name} writes no journal ({status['mode']})"
    if run is not None and run["phase"] == RunPhase.RUNNING:
        return f"a run through the volumes of group {group.name} is under way"
    return ""
