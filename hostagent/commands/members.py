"""Volumes join a living pair and leave it: commands that either site's agent takes.

Owns the order between the two sites. What a site does, and how a crash there
is settled, is its controller's business (controller/LIFECYCLE.md).

| command | step | a crash or failure after it leaves | the same command again |
|---|---|---|---|
| add | 1 both sides could do it | nothing | begins anew |
| | 2 the secondary takes them in | an SVOL of which no journal speaks | finds its number, goes on with 3 |
| | 3 the primary takes them in, marked to be copied | the copy managers copy it | goes on with 4 |
| | 4 both agents keep the pair with its new volumes | | done |
| remove | 0 both sides could do it | nothing | begins anew |
| | 1 the primary lets them go | an SVOL of which no journal speaks any more | goes on with 2 |
| | 2 the secondary has restored what may speak of them, and lets them go | agents that keep them | goes on with 3 |
| | 3 both agents keep the pair as it is now | | done |
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from controller.api.lifecycle import MembersJoin, MembersLeave
from controller.api.models import Group, GroupVolume, Volume
from controller.errors import ConflictError, NotFoundError, PairvolError, PeerError, UsageError
from controller.journal.pointers import Pointer
from hostagent.api.models import Pair, PairStatus, SiteVolumes
from hostagent.api.volumes import PairMembers, SideMembers
from hostagent.commands.resize import refuse_taken_over
from hostagent.copy_manager.lag import position
from hostagent.copy_manager.runner import PairRunner
from hostagent.host import Host
from hostagent.transport import unanswered

RESTORE_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 0.1
ANSWER_SECONDS: Final = 2.0


def add(host: Host, group: str, order: PairMembers) -> PairStatus:
    """Take volumes into a pair; what they hold is copied, hosts of the others write on."""
    pair = host.store.get(group)
    refuse_taken_over(pair, "add volumes to")
    if len(order.primary) != len(order.secondary) or not order.primary:
        raise UsageError(
            f"{len(order.primary)} primary and {len(order.secondary)} secondary volumes are to join {group}",
            hint="Name as many on one side as on the other, in the same order.",
        )
    primary, secondary = pair.primary.site, pair.secondary.site
    with host.locks.hold(groups=[group]):
        here, there = seen(host, primary, group), seen(host, secondary, group)
        _refuse_half(group, order, here, there)
        members = _numbered(order, here, there)
        mine = [each.model_copy(update={"name": name}) for each, name in zip(members, order.primary, strict=True)]
        theirs = [each.model_copy(update={"name": name}) for each, name in zip(members, order.secondary, strict=True)]
        _join(host, primary, group, mine, check=True)
        _join(host, secondary, group, theirs, check=True)
        _join(host, secondary, group, theirs)
        try:
            _join(host, primary, group, mine)
        except PairvolError as error:
            if not unanswered(error) and not isinstance(error, PeerError):
                _undo(host, secondary, group, there, theirs, error)
            raise
        _keep(host, group)
    return _told(host, group, f"{', '.join(order.primary)} joined {group}")


def remove(host: Host, group: str, names: Sequence[str]) -> PairStatus:
    """Let volumes go; at each site they are by themselves then, with the same content."""
    pair = host.store.get(group)
    refuse_taken_over(pair, "take volumes out of")
    primary, secondary = pair.primary.site, pair.secondary.site
    with host.locks.hold(groups=[group]):
        here, there = seen(host, primary, group), seen(host, secondary, group)
        indices = _indices_of(host, pair, names, here, there)
        mine = [volume.name for volume in here.group.volumes if volume.index in indices]
        theirs = [volume.name for volume in there.group.volumes if volume.index in indices]
        for site, volumes in ((primary, mine), (secondary, theirs)):  # a refusal changes nothing
            _leave(host, site, group, volumes, check=True)
        left = _leave(host, primary, group, mine) or here.group
        last = max((left.retired.get(index, 0) for index in indices), default=0)
        if theirs:
            _wait_restored(host.runner(group), pair, last)
            _leave(host, secondary, group, theirs, last)
        _keep(host, group)
    return _told(host, group, f"{', '.join(names)} left {group}")


def seen(host: Host, site: str, group: str) -> SideMembers:
    """What a site has: its group, and all its volumes."""
    if site == host.site:
        return SideMembers(group=host.controller.group(group), volumes=host.controller.volumes())
    return host.peers.get(site).members(group)


def _leave(
    host: Host, site: str, group: str, names: list[str], sequence: int | None = None, *, check: bool = False
) -> Group | None:
    """A site's part of a removal; None when it has let them go already."""
    if not names:
        return None
    order = MembersLeave(volumes=names, sequence=sequence, check=check)
    if site == host.site:
        return host.controller.leave_volumes(group, order)
    return host.peers.get(site).leave(group, order)


def keep_own(host: Host, group: str, primary: Sequence[str], secondary: Sequence[str]) -> None:
    """This agent keeps the pair with these volumes."""
    runner = host.runner(group)
    pair = runner.pair
    sides = {
        "primary": SiteVolumes(site=pair.primary.site, volumes=list(primary)),
        "secondary": SiteVolumes(site=pair.secondary.site, volumes=list(secondary)),
    }
    runner.keep(pair.model_copy(update=sides))
    runner.tell_where()


def _numbered(order: PairMembers, here: SideMembers, there: SideMembers) -> list[GroupVolume]:
    """The number and length of each volume that joins; those that a side has already keep theirs."""
    free = [index for index in here.group.free_indices if index in there.group.free_indices]
    found = []
    for mine, theirs in zip(order.primary, order.secondary, strict=True):
        known = {_find(here.group, mine), _find(there.group, theirs)} - {None}
        if len(known) > 1:
            raise ConflictError(
                f"{mine} and {theirs} are both in group {here.group.name}, and not paired with each other",
                hint='See "pairvol pair list".',
            )
        if not known and not free:
            raise ConflictError(f"group {here.group.name} is full", hint="A group has 64 volumes at most.")
        index = known.pop() if known else free.pop(0)
        assert index is not None
        found.append(GroupVolume(index=index, name=mine, size_bytes=_volume(here, mine).size_bytes))
    return found


def _refuse_half(group: str, order: PairMembers, here: SideMembers, there: SideMembers) -> None:
    """A removal that was cut short is ended first: nothing is copied while the sides have other volumes."""
    mine = {volume.index for volume in here.group.volumes}
    for volume in there.group.volumes:
        if volume.index not in mine and volume.name not in order.secondary:
            raise ConflictError(
                f"cannot add volumes to {group}: {volume.name} has left it at the primary only",
                hint=f'Give "pairvol pair remove {group} {volume.name}" again first.',
                group=group,
                volume=volume.name,
            )


def _find(group: Group, name: str) -> int | None:
    return next((volume.index for volume in group.volumes if volume.name == name), None)


def _volume(side: SideMembers, name: str) -> Volume:
    for volume in side.volumes:
        if volume.name == name:
            return volume
    raise NotFoundError(
        f"volume {name} does not exist at the primary site",
        hint=f'Create it there first, such as "pairvol volume create {name} 10G".',
        volume=name,
    )


def _indices_of(host: Host, pair: Pair, names: Sequence[str], here: SideMembers, there: SideMembers) -> list[int]:
    """Numbers of volumes named as at the primary. One that both sites let go has none; an agent may still keep it."""
    partners = dict(zip(pair.primary.volumes, pair.secondary.volumes, strict=False))
    found = []
    for name in names:
        index = _find(here.group, name)
        if index is None:  # it has left that already
            index = _find(there.group, partners.get(name, name))
        if index is not None:
            found.append(index)
        elif name not in partners:
            if [volume.index for volume in here.group.volumes] == [volume.index for volume in there.group.volumes]:
                _keep(host, pair.group)  # the other agent may have missed the end of the command that this repeats
            raise NotFoundError(
                f"volume {name} is not in group {pair.group}", hint='See "pairvol pair list".', volume=name
            )
    return found


def join_own(host: Host, group: str, order: MembersJoin) -> Group:
    """This site's part of an addition."""
    attached = {attachment.volume for attachment in host.devices.shown()}
    members = {volume.name for volume in host.controller.group(group).volumes}
    for volume in order.volumes:
        if volume.name in attached - members:
            raise ConflictError(
                f"volume {volume.name} of {host.site} is attached",
                hint=f'Unmount it, then "pairvol volume detach {volume.name}".',
                volume=volume.name,
            )
    return host.controller.join_volumes(group, order)


def _join(host: Host, site: str, group: str, members: list[GroupVolume], *, check: bool = False) -> None:
    order = MembersJoin(volumes=members, check=check)
    if site == host.site:
        join_own(host, group, order)
    else:
        host.peers.get(site).join(group, order)


def _undo(
    host: Host, site: str, group: str, before: SideMembers, members: list[GroupVolume], error: PairvolError
) -> None:
    """The primary refused: the secondary lets go again what it had not before."""
    known = {volume.name for volume in before.group.volumes}
    names = [volume.name for volume in members if volume.name not in known]
    if not names:
        return
    try:
        _leave(host, site, group, names, 0)
    except PairvolError as failed:
        error.hint = f"{error.hint} {site} has taken in {', '.join(names)} already: {failed.message}".strip()


def _keep(host: Host, group: str) -> None:
    """Both agents keep the pair with the volumes that its groups have now, in the order of their numbers."""
    pair = host.store.get(group)
    sides = [seen(host, site, group).group.volumes for site in (pair.primary.site, pair.secondary.site)]
    primary, secondary = ([each.name for each in sorted(side, key=lambda each: each.index)] for side in sides)
    other = pair.secondary.site if pair.primary.site == host.site else pair.primary.site
    host.peers.get(other).keep_members(group, PairMembers(primary=primary, secondary=secondary))
    keep_own(host, group, primary, secondary)


def _told(host: Host, group: str, words: str) -> PairStatus:
    host.events.emit("info", "pair.volumes", words, group=group)
    runner = host.runner(group)
    runner.exchange(ANSWER_SECONDS)
    return runner.status()


def _wait_restored(runner: PairRunner, pair: Pair, sequence: int) -> None:
    deadline = time.monotonic() + RESTORE_SECONDS
    while True:
        own, other = runner.look(), runner.exchange(ANSWER_SECONDS)
        states = [state for state in (own, other) if state is not None and state.role == "secondary"]
        if states and position(states[0], Pointer.ALREADY_RESTORED).sequence >= sequence:
            return
        if time.monotonic() > deadline:
            raise ConflictError(
                f"{pair.secondary.site} has not restored journal {sequence} of {pair.group} yet,"
                " and keeps its volumes in the group until then",
                hint="Give the same command again.",
                group=pair.group,
            )
        runner.pause(LOOK_SECONDS)
