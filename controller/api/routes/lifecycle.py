"""/groups/NAME/...: orders that change what a group is (controller/LIFECYCLE.md)."""

from __future__ import annotations

from controller.api.late import Noun
from controller.api.lifecycle import (
    DemoteOrder,
    DemoteResult,
    EpochOrder,
    JournalResize,
    MembersJoin,
    MembersLeave,
    Orphan,
    PromoteOrder,
    ResyncOrder,
    ServeOrder,
    SplitOrder,
    SuspendOrder,
)
from controller.api.models import ChangedRegions, Group, JournalState, Name
from controller.api.routes.dependencies import Here
from controller.groups import commands as groups

noun = Noun("/groups", tags=["lifecycle"])


@noun.post("/{name}/suspend")
def suspend(appliance: Here, name: Name, order: SuspendOrder) -> JournalState:
    """Give up journaling at a primary: host writes go on, changed regions are tracked."""
    groups.suspend(appliance, name, order)
    groups.note_suspension(appliance, name)
    return groups.journal_state(appliance, name)


@noun.post("/{name}/resume")
def resume(appliance: Here, name: Name) -> JournalState:
    """Journal first again; the changed regions stand still for a differential copy."""
    groups.resume(appliance, name)
    groups.note_suspension(appliance, name)
    return groups.journal_state(appliance, name)


@noun.get("/{name}/regions")
def regions(appliance: Here, name: Name) -> ChangedRegions:
    """The changed regions that a differential copy brings over."""
    return groups.changed_regions(appliance, name)


@noun.post("/{name}/resync")
def resync(appliance: Here, name: Name, order: ResyncOrder) -> JournalState:
    """Copy changed regions to this secondary, behind a safe point."""
    groups.order_resync(appliance, name, order)
    return groups.journal_state(appliance, name)


@noun.post("/{name}/clear-epoch")
def clear_epoch(appliance: Here, name: Name, order: EpochOrder) -> JournalState:
    """The secondary is consistent: forget the changed regions of that epoch."""
    groups.clear_epoch(appliance, name, order)
    return groups.journal_state(appliance, name)


@noun.post("/{name}/demote")
def demote(appliance: Here, name: Name, order: DemoteOrder) -> DemoteResult:
    """Follow a new primary; what it lacks is kept as an orphan tail."""
    return groups.demote(appliance, name, order)


@noun.post("/{name}/promote")
def promote(appliance: Here, name: Name, order: PromoteOrder) -> JournalState:
    """Become the primary of the pair: write journals for the site that follows."""
    groups.promote(appliance, name, order)
    groups.note_suspension(appliance, name)
    return groups.journal_state(appliance, name)


@noun.post("/{name}/split")
def split(appliance: Here, name: Name, order: SplitOrder) -> JournalState:
    """Let hosts use the volumes of a secondary, or end that."""
    groups.split(appliance, name, order)
    return groups.journal_state(appliance, name)


@noun.post("/{name}/serve")
def serve(appliance: Here, name: Name, order: ServeOrder) -> JournalState:
    """Serve hosts as primary under this generation, or refuse their writes for a planned takeover."""
    groups.serve(appliance, name, order)
    return groups.journal_state(appliance, name)


@noun.post("/{name}/journal/resize")
def resize_journal(appliance: Here, name: Name, order: JournalResize) -> Group:
    """Move the journal to a volume of another size; hosts write on."""
    return groups.resize_journal(appliance, name, order)


@noun.post("/{name}/volumes/join")
def join(appliance: Here, name: Name, order: MembersJoin) -> Group:
    """Take volumes into the group; the others are written meanwhile."""
    return groups.join(appliance, name, order)


@noun.post("/{name}/volumes/leave")
def leave(appliance: Here, name: Name, order: MembersLeave) -> Group:
    """Let volumes of the group go."""
    return groups.leave(appliance, name, order)


@noun.get("/{name}/orphans")
def orphans(appliance: Here, name: Name) -> list[Orphan]:
    """Tails of journals kept from earlier lives as primary, oldest first."""
    return groups.list_orphans(appliance, name)


@noun.delete("/{name}/orphans/{orphan}", status_code=204)
def drop_orphan(appliance: Here, name: Name, orphan: Name) -> None:
    """Drop a kept tail for good."""
    groups.drop_orphan(appliance, name, orphan)
