"""Volumes that join and leave a living pair: as commands, and what agents ask of each other for them."""

from __future__ import annotations

from controller.api.late import Noun
from controller.api.lifecycle import MembersJoin, MembersLeave
from controller.api.models import Group, Name
from hostagent.api.models import PairStatus
from hostagent.api.routes.dependencies import Here
from hostagent.api.volumes import PairMembers, PairRemove, SideMembers
from hostagent.commands import members

noun = Noun(tags=["volumes of a pair"])


@noun.post("/pairs/{group}/add")
def add(host: Here, group: Name, order: PairMembers) -> PairStatus:
    """Take volumes into a living pair; hosts of the others write on."""
    return members.add(host, group, order)


@noun.post("/pairs/{group}/remove")
def remove(host: Here, group: Name, order: PairRemove) -> PairStatus:
    """Let volumes of a living pair go."""
    return members.remove(host, group, order.volumes)


@noun.get("/peer/pairs/{group}/members", tags=["between agents"])
def seen(host: Here, group: Name) -> SideMembers:
    """The group of this site, and all its volumes."""
    return members.seen(host, host.site, group)


@noun.put("/peer/pairs/{group}/members", status_code=204, tags=["between agents"])
def keep(host: Here, group: Name, order: PairMembers) -> None:
    """Keep the pair with these volumes."""
    members.keep_own(host, group, order.primary, order.secondary)


@noun.post("/peer/pairs/{group}/join", tags=["between agents"])
def join(host: Here, group: Name, order: MembersJoin) -> Group:
    """This site's part of an addition."""
    return members.join_own(host, group, order)


@noun.post("/peer/pairs/{group}/leave", tags=["between agents"])
def leave(host: Here, group: Name, order: MembersLeave) -> Group:
    """This site's part of a removal."""
    return host.controller.leave_volumes(group, order)
