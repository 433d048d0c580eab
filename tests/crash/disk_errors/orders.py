"""Orders whose document a disk refuses: whoever gave one is told, each time, and nothing of it is in force.

Every small document that an order writes before it is answered: of either
controller, of the volume server, of an agent. When the disk is well the same
order is taken, and the pair was protected all the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from controller.api.models import PoolAdd, VolumeCreate
from controller.errors import PairvolError
from hostagent.api.drills import DrillOrder
from hostagent.api.models import AttachOrder, PairState
from hostagent.api.verify import VerifyPhase
from hostagent.cli.demo.sites import Daemon, Site
from tests.crash.disk_errors.refusal import LINES, REPLACED, Fault, Place
from tests.crash.disk_errors.sites import GROUP, SECONDS, VOLUME, Sites
from tests.crash.results import Row
from tests.support.waiting import wait_until

SIZE: Final = 1 << 20
EXIT_CODES: Final = (30, 40)
Name = str  # of what a row makes: each has one of its own


def _primary(sites: Sites) -> Site:
    return sites.now


def _secondary(sites: Sites) -> Site:
    return sites.other


def _nothing(sites: Sites, name: Name) -> None:
    """Nothing is to be undone."""


@dataclass(frozen=True)
class Order:
    """`seen` is what anybody is told of what such orders came to."""

    site: Callable[[Sites], Site]
    daemon: Daemon | None  # None: the primary's volume server
    document: str  # below the state directory of the daemon, or of the group
    places: Sequence[Place]
    give: Callable[[Sites, Name], object]
    seen: Callable[[Sites], object]
    undo: Callable[[Sites, Name], object] = _nothing
    named: str = ""  # what the error says of the file, when that is not its name

    def pid(self, sites: Sites) -> int:
        return sites.server_pid() if self.daemon is None else sites.pid(self.site(sites), self.daemon)

    def path(self, sites: Sites, name: Name) -> Path:
        return self.site(sites).state_directory(self.daemon or Daemon.CONTROLLER) / self.document.format(name=name)


def _run(sites: Sites) -> object:
    """The newest run of the primary."""
    state = sites.primary.journal(GROUP).primary
    assert state is not None
    return state.run.run if state.run is not None else None


def _end_verify(sites: Sites, name: Name) -> None:
    def ended() -> bool:
        return sites.primary.verify_report(GROUP).phase is VerifyPhase.DONE

    wait_until(ended, SECONDS, "the verify to end")
    report = sites.primary.verify_report(GROUP)
    assert "is identical" in report.line, report.line


def _markers(sites: Sites) -> object:
    return [marker.name for marker in sites.primary.markers(GROUP).primary or []]


def _drills(sites: Sites) -> object:
    listed = [drill.number for drill in sites.secondary.drills(GROUP).drills if drill.state in ("open", "starting")]
    return listed, sites.of_secondary().drills


def _limit(name: Name) -> int:
    return (1 << 20) + int(name.removeprefix("n"))


# What cannot be removed durably either stays, in phase `deleting`: the directory is not for these to be refused.
MADE: Final = (("fsync", "file"),)


def _volume_made(document: str, places: Sequence[Place]) -> Order:
    """A document that is written when a volume is made at the second site."""
    return Order(
        _secondary,
        Daemon.CONTROLLER,
        document,
        places,
        lambda sites, name: sites.secondary.create_volume(VolumeCreate(name=name, size_bytes=SIZE)),
        lambda sites: [volume.name for volume in sites.secondary.volumes()],
        lambda sites, name: sites.secondary.delete_volume(name),
    )


ORDERS: dict[str, Order] = {
    "run of a verify": Order(
        _primary,
        None,
        f"groups/{GROUP}/run",
        REPLACED,
        lambda sites, name: sites.primary.verify_pair(GROUP),
        _run,
        _end_verify,
    ),
    "list of markers": Order(
        _primary,
        Daemon.CONTROLLER,
        f"groups/{GROUP}/markers.jsonl",
        LINES,
        lambda sites, name: sites.primary.put_marker(GROUP, name),
        _markers,
    ),
    "ledger of drills": Order(
        _secondary,
        Daemon.CONTROLLER,
        "drills.jsonl",
        LINES[:2],  # in the directory of state.json, which meets the third first
        lambda sites, name: sites.secondary.start_drill(GROUP, DrillOrder()),
        _drills,
        lambda sites, name: sites.secondary.stop_drill(GROUP),
    ),
    "state of a controller": _volume_made("state.json", REPLACED),
    "document of a server": _volume_made("servers/v-{name}.json", REPLACED[:3]),
    "image of a volume": _volume_made("volumes/{name}.img", MADE),
    "image of the pool": Order(
        _secondary,
        Daemon.CONTROLLER,
        "pool/{name}.img",
        (("fallocate", "file"), *MADE),
        lambda sites, name: sites.secondary.add_to_pool(PoolAdd(name=name, size_bytes=SIZE)),
        lambda sites: [volume.name for volume in sites.secondary.pool()],
        lambda sites, name: sites.secondary.remove_from_pool(name),
    ),
    "pairs of an agent": Order(
        _primary,
        Daemon.AGENT,
        "pairs.json",
        REPLACED,
        lambda sites, name: sites.primary.set_pair(GROUP, _limit(name)),
        lambda sites: sites.status().limit_bytes_per_second,
    ),
    "attachments of an agent": Order(
        _primary,
        Daemon.AGENT,
        "attachments.json",
        REPLACED,
        lambda sites, name: sites.primary.attach(AttachOrder(volume=VOLUME, uri_only=True)),
        lambda sites: sites.primary.attachments(),
        lambda sites, name: sites.primary.detach(VOLUME),
    ),
    "moments of an agent": Order(
        _primary,
        Daemon.AGENT,
        "moments.json",
        REPLACED,
        lambda sites, name: sites.primary.put_marker(GROUP, name),
        _markers,
    ),
}


def run(row: Row, sites: Sites, label: str, order: Order, met: Sequence[Fault]) -> None:
    """One after the other, these ways in which the document of an order is refused."""
    for fault in met:
        row.attempted += 1
        _meet(row, sites, f"{label}, {fault}", order, fault, f"n{row.attempted}")
    sites.write()
    sites.wait_protected()
    if sites.differs():
        row.disorder(f"{label}: the SVOL is not the PVOL")


def _meet(row: Row, sites: Sites, label: str, order: Order, fault: Fault, name: Name) -> None:
    document, before, met = order.path(sites, name), order.seen(sites), 0
    with sites.refused(order.pid(sites), fault, document) as refusal:
        for _ in range(2):  # what a disk refused it has to refuse again: the second is no success either
            _judge(row, sites, label, order, fault, name)
            if (more := refusal.met()) == met:
                row.lose(f"{label}: given again, the disk was not asked again")
            met = more
        if fault.what != "directory" and order.seen(sites) != before:
            row.lose(f"{label}: what was refused is in force: {order.seen(sites)}, not {before}")
        if sites.status().state is not PairState.PAIR:
            row.lose(f"{label}: the pair is {sites.status().line}")
    row.reached += met > 0
    order.give(sites, name)
    if order.seen(sites) == before:
        row.lose(f"{label}: the disk is well, and the order was answered and is not in force")
    order.undo(sites, name)


def _judge(row: Row, sites: Sites, label: str, order: Order, fault: Fault, name: Name) -> None:
    """The order is answered with an error that names the cause and the file, and says what to do."""
    file = order.named or Path(order.document.format(name=name)).stem
    try:
        order.give(sites, name)
    except PairvolError as error:
        named = fault.named_in(error.message) and file in error.message and bool(error.hint)
        if not named or error.exit_code not in EXIT_CODES:
            row.lose(f"{label}: {type(error).__name__} {error.exit_code}, {error.message!r}, hint {error.hint!r}")
    else:
        row.lose(f"{label}: the order was answered as done")
