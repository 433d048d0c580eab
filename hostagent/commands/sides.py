"""One side of a pair at this site: checked, made and removed.

Owns the steps at one site; `create.py` and `delete.py` own the order between
the two, and reach the other site's side through its agent. Every step may be
done twice. The pair is kept before its group is made, so that after a crash
anywhere the same command finds what is there and goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import Final

from controller.api.lifecycle import Dropped
from controller.api.models import CopyState, Group, GroupCreate, GroupVolume, Role
from controller.errors import (
    CapacityError,
    ConflictError,
    MissingFileError,
    NotFoundError,
    PairvolError,
    PeerError,
    UsageError,
)
from hostagent.api.models import DroppedAt, Pair, SideOrder, SideReport, SiteVolumes
from hostagent.copy_manager.runner import PairRunner
from hostagent.drills.commands import release_devices
from hostagent.host import Host

FIRST_GENERATION: Final = 1


def own_volumes(host: Host, pair: Pair) -> SiteVolumes:
    """This site's volumes of a pair; UsageError when it has none."""
    for side in (pair.primary, pair.secondary):
        if side.site == host.site:
            return side
    raise UsageError(
        f"{host.site} is neither {pair.primary.site} nor {pair.secondary.site}",
        hint="Give the command to the agent of one of these sites.",
    )


def role_of(host: Host, pair: Pair) -> Role:
    return Role.PRIMARY if pair.primary.site == host.site else Role.SECONDARY


def check_side(host: Host, order: SideOrder) -> SideReport:
    """Refuse what cannot be done here; changes nothing. Sizes of 0 in the order are not compared."""
    pair = order.pair
    sites = own_volumes(host, pair), role_of(host, pair)
    host.peers.get(pair.secondary.site if sites[1] is Role.PRIMARY else pair.primary.site)
    known = host.store.find(pair.group)
    if known is not None:
        refuse_other(known, pair)
    group = find_group(host, pair.group)
    if group is not None and group.role is not sites[1]:
        raise ConflictError(
            f"group {pair.group} is {group.role} at {host.site}",
            hint=f'See "pairvol pair status {pair.group}"; a pair that is over is ended with "pairvol pair delete".',
            group=pair.group,
        )
    if group is not None and [volume.name for volume in group.volumes] != sites[0].volumes:
        raise ConflictError(
            f"group {pair.group} exists at {host.site} with other volumes", hint="Choose another group name."
        )
    pool = {volume.name for volume in host.controller.pool()} if order.journal_volumes else set()
    for name in order.journal_volumes:
        if group is None and name not in pool:
            raise NotFoundError(f"pool volume {name} does not exist at {host.site}", hint='See "pairvol pool list".')
    return report(host, pair, group, _check_volumes(host, order, sites[1]))


def _check_volumes(host: Host, order: SideOrder, role: Role) -> list[GroupVolume]:
    """The volumes that exist; refuses one that is missing at the primary, busy, or of another size."""
    existing = {volume.name: volume for volume in host.controller.volumes()}
    found = []
    attached = {attachment.volume for attachment in host.devices.shown()}
    for wanted in order.volumes:
        volume = existing.get(wanted.name)
        if volume is None:
            if role is Role.SECONDARY:
                continue
            raise NotFoundError(
                f"volume {wanted.name} does not exist at {host.site}",
                hint=f'Create it there first, such as "pairvol volume create {wanted.name} 10G".',
            )
        if volume.group not in (None, order.pair.group):
            raise ConflictError(
                f"volume {wanted.name} of {host.site} is already in group {volume.group}",
                hint="A volume is in one pair at a time.",
                volume=wanted.name,
            )
        if wanted.size_bytes and volume.size_bytes != wanted.size_bytes:
            raise CapacityError(
                f"volume {wanted.name} of {host.site} has {volume.size_bytes} bytes, "
                f"the primary's has {wanted.size_bytes}",
                hint="Leave it out to have it made, or create it with that size.",
                volume=wanted.name,
            )
        if wanted.name in attached and volume.group is None and (role is Role.SECONDARY or len(order.volumes) > 1):
            rule = "replication is to write to it" if role is Role.SECONDARY else "volumes of one pair get one server"
            raise ConflictError(
                f"volume {wanted.name} of {host.site} is attached, and {rule}",
                hint=f'Unmount it, then "pairvol volume detach {wanted.name}" at {host.site}.',
                volume=wanted.name,
            )
        found.append(wanted.model_copy(update={"size_bytes": volume.size_bytes}))
    return found


def make_side(host: Host, order: SideOrder) -> SideReport:
    """Make this site's group and let its copy manager work. What was refused leaves nothing behind."""
    pair = order.pair
    with host.locks.hold(groups=[pair.group]):
        check_side(host, order)
        before = host.store.find(pair.group)
        host.store.put(pair)
        try:
            group = _made(host, pair) or host.controller.create_group(_group_order(host, order))
        except PeerError:
            raise  # it may have been made: the kept pair lets the same command go on
        except PairvolError:
            if before is None:
                host.store.remove(pair.group)
            raise
        begin(host, pair)
        return report(host, pair, group, group.volumes)


def _made(host: Host, pair: Pair) -> Group | None:
    """The group that an earlier command made here; volumes have joined and left it since, so no order describes it."""
    group = find_group(host, pair.group)
    return group if group is not None and group.uuid == pair.uuid and group.ready else None


def begin(host: Host, pair: Pair) -> PairRunner:
    """A runner for this pair: the one at work, told of a change, or a new one."""
    runner = host.runners.find(pair.group)
    if runner is None or runner.pair.uuid != pair.uuid:
        return host.begin_pair(pair)
    runner.keep(pair)
    return runner


def check_removal(host: Host, group: str, uuid: str) -> None:
    """Refuse what removing this site's side without force would; changes nothing."""
    with host.locks.hold(groups=[group]):
        present = find_group(host, group)
        if present is not None and present.uuid == uuid:
            host.controller.check_deletion(group)


def remove_group(host: Host, group: str, uuid: str, *, force: bool) -> list[DroppedAt]:
    """Delete this site's journal group; its volumes stay. The pair is still kept. What went with it."""
    dropped: list[Dropped] = []
    with host.locks.hold(groups=[group]):
        present = find_group(host, group)
        if present is not None and present.uuid == uuid:
            try:
                dropped = host.controller.delete_group(group, force=force)
            except MissingFileError:
                raise
            except NotFoundError:
                pass  # it went meanwhile
            release_devices(host, group)  # of drills, which that has ended
    return [DroppedAt(site=host.site, **each.model_dump()) for each in dropped]


def forget(host: Host, group: str, uuid: str) -> None:
    """Forget the pair, after its group is gone."""
    with host.locks.hold(groups=[group]):
        known = host.store.find(group)
        if known is None or known.uuid == uuid:
            host.store.remove(group)


def remove_side(host: Host, group: str, uuid: str, *, force: bool, made: Sequence[str] = ()) -> list[DroppedAt]:
    """Delete the group, then forget the pair; volumes that were `made` for it by the command undone here go too."""
    known = host.store.find(group)
    with at_rest(host, known) if known is not None and known.uuid == uuid else nullcontext():
        dropped = remove_group(host, group, uuid, force=force)
        forget(host, group, uuid)
    for volume in made:
        with suppress(NotFoundError):
            host.controller.delete_volume(volume)
    return dropped


@contextmanager
def at_rest(host: Host, pair: Pair) -> Iterator[None]:
    """Keep the pair's copy manager from working; it goes on when the pair is still kept afterwards."""
    host.runners.end(pair.group)
    try:
        yield
    finally:
        kept = host.store.find(pair.group)
        if kept is not None:
            host.begin_pair(kept)


def find_group(host: Host, name: str) -> Group | None:
    try:
        return host.controller.group(name)
    except NotFoundError:
        return None


def refuse_other(known: Pair, wanted: Pair) -> None:
    """ConflictError unless both are the same pair of the same volumes, in the same direction."""
    if (known.primary, known.secondary) != (wanted.primary, wanted.secondary):
        raise ConflictError(
            f"pair {known.group} exists already, with other volumes",
            hint='Choose another group name, or see "pairvol pair list".',
            group=known.group,
        )
    if known.taken_over:
        raise ConflictError(
            f"pair {known.group} was taken over by {known.secondary.site}",
            hint=f'End it with "pairvol pair delete {known.group}" before pairing again.',
            group=known.group,
        )


def report(host: Host, pair: Pair, group: Group | None, volumes: list[GroupVolume]) -> SideReport:
    return SideReport(
        site=host.site,
        pair=host.store.find(pair.group),
        group_uuid=group.uuid if group else None,
        group_role=group.role if group else None,
        volumes=volumes,
        begun=group is not None and _begun(host, group),
    )


def _begun(host: Host, group: Group) -> bool:
    return group.generation > FIRST_GENERATION or (
        group.role is Role.SECONDARY and host.controller.state(group.name).initial_copy.state is not CopyState.NONE
    )


def _group_order(host: Host, order: SideOrder) -> GroupCreate:
    pair, role = order.pair, role_of(host, order.pair)
    return GroupCreate(
        name=pair.group,
        uuid=pair.uuid,
        role=role,
        generation=pair.generation,
        peer_site=pair.secondary.site if role is Role.PRIMARY else pair.primary.site,
        volumes=order.volumes,
        journal_bytes=order.journal_bytes,
        journal_volumes=order.journal_volumes,
        journal_visible=order.journal_visible,
        on_full=pair.policy.on_full,
    )
