"""Journals that move to another size while a pair runs: what the disk refuses of the new one leaves the old one in use.

At the primary the controller lays the new volume out and the volume server
puts it in place; at the secondary the controller does both. A journal of
several volumes has a document beside them.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Sequence
from typing import Final

from controller.api.models import PoolAdd
from controller.errors import PairvolError
from hostagent.api.volumes import JournalSize, ResizeSide
from hostagent.cli.demo.sites import Daemon, Site
from tests.crash.disk_errors.orders import Name, Order
from tests.crash.disk_errors.refusal import REPLACED, Fault, Place
from tests.crash.disk_errors.sites import GROUP, JOURNAL_BYTES, Sites
from tests.crash.results import Row

LAID_OUT: Final = (("fallocate", "file"), ("pwrite64", "file"), ("fsync", "file"))
CARRIED: Final = (("pwrite64", "file"), ("fdatasync", "file"), ("rename", "file"))
NAMED: Final = (("symlink", "file"), ("rename", "file"))
DIRECTORY: Final = (("fsync", "directory"),)
STEP: Final = 1 << 16  # between two sizes, so that their capacities differ
PARTS: Final = ("one", "two")
PART_BYTES: Final = 3 << 20  # too small to be taken for a journal that names none
SECOND: Final = f"pool/{PARTS[1]}.img"
NEXT: Final = f"groups/{GROUP}/journal.next"
LINK: Final = f"groups/{GROUP}/.journal.next.new"


def prepare(sites: Sites) -> None:
    """Both sites have volumes to make a journal of."""
    for agent in (sites.primary, sites.secondary):
        for name in PARTS:
            agent.add_to_pool(PoolAdd(name=name, size_bytes=PART_BYTES))


def _resize(side: ResizeSide) -> Callable[[Sites, Name], object]:
    def give(sites: Sites, name: Name) -> object:
        size = JOURNAL_BYTES + STEP * int(name.removeprefix("n"))
        return sites.primary.resize_journal(GROUP, JournalSize(size_bytes=size, side=side))

    return give


def _span(side: ResizeSide, parts: Sequence[str]) -> Callable[[Sites, Name], object]:
    return lambda sites, name: sites.primary.resize_journal(GROUP, JournalSize(journal_volumes=[*parts], side=side))


def _size(side: ResizeSide) -> Callable[[Sites], object]:
    def seen(sites: Sites) -> object:
        sides = sites.primary.journal(GROUP)
        state = sides.primary if side is ResizeSide.PRIMARY else sides.secondary
        assert state is not None
        return state.data_capacity_bytes

    return seen


def _site(side: ResizeSide) -> Callable[[Sites], Site]:
    return lambda sites: sites.now if side is ResizeSide.PRIMARY else sites.other


def _sized(side: ResizeSide, daemon: Daemon | None, places: Sequence[Place]) -> Order:
    return Order(_site(side), daemon, NEXT, places, _resize(side), _size(side))


def _pooled(
    side: ResizeSide, document: str, places: Sequence[Place], named: str, parts: Sequence[str] = PARTS
) -> Order:
    give, undo = _span(side, parts), _resize(side)
    return Order(_site(side), Daemon.CONTROLLER, document, places, give, _size(side), undo, named)


ORDERS: Final = {
    "next journal of the primary, laid out": _sized(ResizeSide.PRIMARY, Daemon.CONTROLLER, (*LAID_OUT, *DIRECTORY)),
    "next journal of the primary, filled": _sized(ResizeSide.PRIMARY, Daemon.CONTROLLER, CARRIED[1:2]),
    "next journal of the primary, put in place": _sized(ResizeSide.PRIMARY, None, CARRIED),
    "next journal of the secondary": _sized(
        ResizeSide.SECONDARY, Daemon.CONTROLLER, (*LAID_OUT, *CARRIED[1:], *DIRECTORY)
    ),
    "name of a journal in the pool": _pooled(ResizeSide.SECONDARY, LINK, NAMED, "journal", PARTS[:1]),
    "journal of several, its document": _pooled(ResizeSide.PRIMARY, NEXT, REPLACED[:3], "journal"),
    "journal of several, one of them": _pooled(ResizeSide.PRIMARY, SECOND, LAID_OUT[1:], SECOND),
    "journal of several at the secondary": _pooled(ResizeSide.SECONDARY, SECOND, LAID_OUT[1:], SECOND),
}


def switched(row: Row, sites: Sites) -> None:
    """The name of a journal that is in place cannot be made durable: no write is taken until a server starts anew."""
    order, fault = ORDERS["next journal of the primary, put in place"], Fault("fsync", "directory", errno.EIO)
    row.attempted += 1
    label, name = f"journal that is in place, {fault}", f"n{row.attempted}"
    before = order.seen(sites)
    with sites.refused(sites.server_pid(), fault, order.path(sites, name)) as refusal:
        try:
            order.give(sites, name)
            row.lose(f"{label}: the order was answered as done")
        except PairvolError as error:
            if not fault.named_in(error.message) or "journal" not in error.message or not error.hint:
                row.lose(f"{label}: said {error.message!r}, hint {error.hint!r}")
        row.reached += refusal.met() > 0
        for agent in (sites.primary, sites.secondary):
            if words := sites.wait_failed(agent, fault, f"groups/{GROUP}/journal"):
                row.lose(f"{label}: the status says {words}")
    os.kill(sites.server_pid(), signal.SIGKILL)
    sites.wait_protected()
    sites.write()
    sites.wait_protected()
    if order.seen(sites) == before or sites.differs():
        row.disorder(f"{label}: the server that starts anew has the journal of before, or the SVOL is not the PVOL")
