"""Delete a pair, from either site. Volumes stay, with what is in them.

| step | a crash or failure after it leaves | the same command again |
|---|---|---|
| 1 both controllers could do it (not with force) | the pair | begins anew |
| 2 primary's group deleted: what was acknowledged is in the PVOL | a secondary that copies no more | goes on |
| 3 secondary's group deleted: what was read is restored (not with force) | kept pairs without groups | goes on |
| 4 the own site forgets the pair, last of all | nothing | no such pair |

A refusal changes nothing: whatever only one controller can refuse is asked of
both before the first step. With force, an other site that does not answer is left as it is; it says so in
its status when it comes back, and `--force` there ends its side.
"""

from __future__ import annotations

from controller.errors import NotFoundError, PairvolError, PeerError
from hostagent.api.models import DroppedAt, Pair, PairDeletion
from hostagent.commands import sides
from hostagent.drills.commands import refuse_open
from hostagent.host import Host
from hostagent.transport import unanswered


def delete(host: Host, group: str, *, force: bool) -> PairDeletion:
    """End a pair at both sites; with force here alone when the other site does not answer. What that dropped."""
    pair = host.store.find(group)
    if pair is None:
        return _delete_orphan(host, group, force=force)
    other = host.peers.get(pair.secondary.site if pair.primary.site == host.site else pair.primary.site)
    reached = _reached(host, pair, other.site, force=force)
    if not force:
        refuse_open(host, pair, f"delete pair {group}")  # before anything of it is gone
    dropped: list[DroppedAt] = []
    with sides.at_rest(host, pair):
        if not force:
            _check(host, pair)
        for site in (pair.primary.site, pair.secondary.site):
            if site == host.site:
                dropped += sides.remove_group(host, group, pair.uuid, force=force)
            elif reached:
                dropped += other.remove_side(group, pair.uuid, force=force)
        sides.forget(host, group, pair.uuid)
    left = "" if reached else f"; {other.site} did not answer and keeps its side"
    host.events.emit("info", "pair.deleted", f"pair {group} deleted{left}", {"uuid": pair.uuid}, group=group)
    return PairDeletion(group=group, dropped=dropped, left=None if reached else other.site)


def _check(host: Host, pair: Pair) -> None:
    """Ask both controllers, that of the secondary last: it restores what it has before it answers."""
    for site in (pair.primary.site, pair.secondary.site):
        if site == host.site:
            sides.check_removal(host, pair.group, pair.uuid)
        else:
            host.peers.get(site).check_removal(pair.group, pair.uuid)


def _reached(host: Host, pair: Pair, site: str, *, force: bool) -> bool:
    try:
        host.peers.get(site).hello()
    except PairvolError as error:
        if force and unanswered(error):
            return False
        raise PeerError(
            f"cannot delete {pair.group}: {error.message}",
            hint=f"Wait for {site}, or add --force to delete the side of {host.site} alone.",
            group=pair.group,
        ) from error
    return True


def _delete_orphan(host: Host, group: str, *, force: bool) -> PairDeletion:
    """A journal group that no pair is kept for: left by a command that was cut short."""
    present = sides.find_group(host, group)
    if present is None or not force:
        raise NotFoundError(
            f"no pair named {group}",
            hint='See "pairvol pair list".'
            if present is None
            else f"{host.site} has a journal group of that name without a pair; add --force to delete it.",
        )
    return PairDeletion(group=group, dropped=sides.remove_group(host, group, present.uuid, force=True))
