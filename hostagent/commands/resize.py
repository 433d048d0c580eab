"""Journals and volumes of another size: commands that either site's agent takes.

Owns the order between the two sites. What a site does, and how a crash there
is settled, is its controller's business (controller/LIFECYCLE.md).

| command | step | a crash or failure after it leaves | the same command again |
|---|---|---|---|
| journal | 1 the primary answers, and journals are written | nothing | begins anew |
| | 2 the secondary's has the size | journals of different size | goes on with 3 |
| | 3 the primary's has the size | | done |
| volume | 1 both sides could do it | nothing | begins anew |
| | 2 the secondary's grows | an SVOL that is longer than its PVOL: journals never reach beyond it | goes on with 3 |
| | 3 the primary's grows | | done |
"""

from __future__ import annotations

import time
from typing import Final

from controller.api.lifecycle import JournalResize, VolumeResize
from controller.api.models import Group, Volume
from controller.errors import ConflictError, NotFoundError, PairvolError, PeerError, UsageError
from controller.units import format_size
from hostagent.api.models import Pair
from hostagent.api.volumes import JournalSize, JournalSizes, ResizeSide, SideResize, VolumeSize, VolumeSizes
from hostagent.commands.journals import journal_sides
from hostagent.host import Host

LINK_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 0.1


def resize_journal(host: Host, group: str, order: JournalSize) -> JournalSizes:
    """Move the journals of a pair, or of one side, to volumes of another size.

    The secondary's first: it should hold what the primary's does.
    """
    pair = host.store.get(group)
    if order.journal_volumes and order.side is ResizeSide.BOTH:
        raise UsageError(
            f"the journals of {group} cannot both lie on {order.journal_volumes[0]}",
            hint="Say which side with --side primary or --side secondary.",
        )
    refuse_taken_over(pair, "resize the journals of")
    if order.side is ResizeSide.BOTH:
        _refuse_half(host, pair)
    sizes: dict[str, int] = {}
    for side in (ResizeSide.SECONDARY, ResizeSide.PRIMARY):
        if order.side in (side, ResizeSide.BOTH):
            try:
                sizes[side.value] = _journal_at(host, pair, side, order).journal_bytes
            except PairvolError as error:
                if sizes:
                    done = f"The journal of {pair.secondary.site} has {format_size(sizes['secondary'])} already"
                    error.hint = f"{error.hint} {done}; the same command goes on from there.".strip()
                raise
    _wait_linked(host, pair)
    return JournalSizes(group=group, **sizes)


def _refuse_half(host: Host, pair: Pair) -> None:
    """Refuse before anything is done what the primary, which comes last, would refuse."""
    group, site, primary = pair.group, pair.primary.site, journal_sides(host, pair.group).primary
    if primary is None:
        raise PeerError(
            f"cannot resize the journals of {group}: {site} does not answer",
            hint=f'Nothing was changed; see "pairvol pair status {group}".',
            group=group,
        )
    if not primary.acquisition:
        raise ConflictError(
            f"cannot resize the journals of {group}: acquisition at {site} is stopped",
            hint=f'Nothing was changed; start it first: "pairvol journal start {group}".',
            group=group,
        )


def _wait_linked(host: Host, pair: Pair) -> None:
    """Give the secondary a moment to read where the journal is now; it goes on trying by itself."""
    runner, deadline = host.runner(pair.group), time.monotonic() + LINK_SECONDS
    while time.monotonic() < deadline:
        state = runner.look() if pair.secondary.site == host.site else runner.exchange()
        if state is None or state.link_ok is not False:
            return
        runner.pause(LOOK_SECONDS)


def resize_own_journal(host: Host, group: str, order: JournalResize) -> Group:
    """This site's journal; the other site is told where it is read now."""
    moved = host.controller.resize_journal(group, order)
    host.runner(group).tell_where()
    return moved


def _journal_at(host: Host, pair: Pair, side: ResizeSide, order: JournalSize) -> Group:
    site = (pair.primary if side is ResizeSide.PRIMARY else pair.secondary).site
    resize = JournalResize(size_bytes=order.size_bytes, journal_volumes=order.journal_volumes)
    if site == host.site:
        return resize_own_journal(host, pair.group, resize)
    return host.peers.get(site).resize_journal(pair.group, resize)


def resize_volume(host: Host, name: str, order: VolumeSize) -> VolumeSizes:
    """Make a volume of this site larger, and the one that it is paired with."""
    volume = host.controller.volume(name)
    if volume.group is None:
        grown = host.controller.resize_volume(name, VolumeResize(size_bytes=order.size_bytes))
        return VolumeSizes(volume=name, group=None, sizes={host.site: grown.size_bytes})
    group = volume.group
    pair = host.store.get(group)
    refuse_taken_over(pair, "resize volumes of")
    index = next(member.index for member in host.controller.group(group).volumes if member.name == name)
    sites = (pair.secondary.site, pair.primary.site)
    with host.locks.hold(groups=[group]):
        for site in sites:
            _volume_at(host, site, group, SideResize(index=index, size_bytes=order.size_bytes, check=True))
        side = SideResize(index=index, size_bytes=order.size_bytes)
        sizes = {site: _volume_at(host, site, group, side).size_bytes for site in sites}
    host.runner(group).awaken()
    return VolumeSizes(volume=name, group=group, sizes=sizes)


def resize_own_volume(host: Host, group: str, order: SideResize) -> Volume:
    """This site's volume of that index in the group."""
    members = host.controller.group(group).volumes
    name = next((member.name for member in members if member.index == order.index), None)
    if name is None:
        raise NotFoundError(
            f"group {group} has no volume {order.index} at {host.site}",
            hint=f'It may be joining or leaving: see "pairvol pair list", and give "pairvol pair add {group}" or '
            f'"pairvol pair remove {group}" again when one was cut short.',
            group=group,
        )
    resize = VolumeResize(size_bytes=order.size_bytes, group=group, check=order.check)
    return host.controller.resize_volume(name, resize)


def _volume_at(host: Host, site: str, group: str, order: SideResize) -> Volume:
    if site == host.site:
        return resize_own_volume(host, group, order)
    return host.peers.get(site).resize_volume(group, order)


def refuse_taken_over(pair: Pair, doing: str) -> None:
    if pair.taken_over:
        raise ConflictError(
            f"cannot {doing} {pair.group}: it was taken over by {pair.secondary.site}",
            hint=f'Pair the sites again first: "pairvol pair resync {pair.group} --swap".',
            group=pair.group,
        )
