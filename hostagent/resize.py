"""Journals and volumes of another size: commands that either site's agent takes.

Owns the order between the two sites. What a site does, and how a crash there
is settled, is its controller's business (controller/LIFECYCLE.md).

| command | step | a crash or failure after it leaves | the same command again |
|---|---|---|---|
| journal | 1 the secondary's has the size | journals of different size | goes on with 2 |
| | 2 the primary's has the size | | done |
"""

from __future__ import annotations

from controller.api.lifecycle import JournalResize
from controller.api.models import Group
from controller.errors import ConflictError, UsageError
from hostagent.api.models import JournalSize, JournalSizes, Pair, ResizeSide
from hostagent.host import Host


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
    sizes: dict[str, int] = {}
    for side in (ResizeSide.SECONDARY, ResizeSide.PRIMARY):
        if order.side in (side, ResizeSide.BOTH):
            moved = _journal_at(host, pair, side, order)
            sizes[side.value] = moved.journal_bytes
    return JournalSizes(group=group, **sizes)


def resize_own_journal(host: Host, group: str, order: JournalResize) -> Group:
    """This site's journal; the other site is told where it is read now."""
    moved = host.controller.resize_journal(group, order)
    runner = host.runner(group)
    runner.look()
    runner.awaken()
    return moved


def _journal_at(host: Host, pair: Pair, side: ResizeSide, order: JournalSize) -> Group:
    site = (pair.primary if side is ResizeSide.PRIMARY else pair.secondary).site
    if pair.taken_over:
        raise ConflictError(
            f"cannot resize the journals of {pair.group}: it was taken over by {pair.secondary.site}",
            hint=f'Pair the sites again first: "pairvol pair resync {pair.group} --swap".',
            group=pair.group,
        )
    resize = JournalResize(size_bytes=order.size_bytes, journal_volumes=order.journal_volumes)
    if site == host.site:
        return resize_own_journal(host, pair.group, resize)
    return host.peers.get(site).resize_journal(pair.group, resize)
