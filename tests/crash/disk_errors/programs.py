"""Documents of the copy and restore programs: nobody waits for them, so the status says what the disk refuses.

While it does, the group is in PSUE at both agents with the cause, and neither
journals nor changed regions count as brought over, however often a person
orders that again. When the disk is well, the order that the status names lets
the pair go on, and the SVOL becomes the PVOL.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from controller.errors import PairvolError
from hostagent.api.verify import VerifyPhase
from hostagent.cli.demo.sites import Daemon
from tests.crash.disk_errors.refusal import LINES, REPLACED, Fault, Place, Refusal
from tests.crash.disk_errors.sites import GROUP, SECONDS, Sites
from tests.crash.results import Row
from tests.support.waiting import wait_until

Name = str


@dataclass(frozen=True)
class Program:
    """`passed` says whether the programs went on as if the document were written."""

    document: str  # below the directory of the group
    places: Sequence[Place]
    prepare: Callable[[Sites], object]
    order: Callable[[Sites, Name], object]
    again: Callable[[Sites], object]
    passed: Callable[[Sites], bool]


def _split(sites: Sites) -> None:
    sites.primary.split_pair(GROUP)


def _resync(sites: Sites) -> None:
    sites.primary.resync_pair(GROUP)


def _restore(sites: Sites) -> None:
    sites.secondary.restore_journal(GROUP)


def _restored(sites: Sites) -> bool:
    return sites.restored() >= sites.newest()


def _copied(sites: Sites) -> bool:
    return sites.number_at_secondary() == sites.written


def _verified(sites: Sites) -> bool:
    return _restored(sites) or sites.primary.verify_report(GROUP).phase is VerifyPhase.DONE


def _differential(document: str, places: Sequence[Place]) -> Program:
    return Program(document, places, _split, lambda sites, name: _resync(sites), _resync, _copied)


SAVED: Final = (("pwrite64", "file"), ("fdatasync", "file"))
PROGRAMS: dict[str, Program] = {
    "progress of the copy": _differential("copy.json", REPLACED),
    "safe point": _differential("safepoint", (("mkdir", "file"), ("fsync", "file"))),
    "mark of the safe point": _differential("safepoint/point.json", REPLACED[:3]),
    "content of the safe point": _differential("safepoint/data", SAVED),
    "index of the safe point": _differential("safepoint/index", SAVED),
    "digests of a verify": Program(
        "verify.json",
        REPLACED,
        lambda sites: None,
        lambda sites, name: sites.primary.verify_pair(GROUP),
        _restore,
        _verified,
    ),
    "list of markers": Program(
        "markers.jsonl",
        LINES,
        lambda sites: None,
        lambda sites, name: sites.primary.put_marker(GROUP, name),
        _restore,
        _restored,
    ),
}


def run(row: Row, sites: Sites, label: str, program: Program, met: Sequence[Fault]) -> None:
    """One after the other, these ways in which the document is refused."""
    for fault in met:
        row.attempted += 1
        _meet(row, sites, f"{label}, {fault}", program, fault, f"p{row.attempted}")


def _meet(row: Row, sites: Sites, label: str, program: Program, fault: Fault, name: Name) -> None:
    program.prepare(sites)
    sites.write()
    document = sites.group_of(sites.other) / program.document
    with sites.refused(sites.pid(sites.other, Daemon.CONTROLLER), fault, document) as refusal:
        program.order(sites, name)
        for agent in (sites.primary, sites.secondary):
            if words := sites.wait_failed(agent, fault, program.document.split("/")[0]):
                row.lose(f"{label}: the status says {words}")
        row.reached += refusal.met() > 0
        _order_again(row, sites, label, program, refusal)
    with suppress(PairvolError):  # one that a disk stopped is ordered again by a person; others went on by themselves
        program.again(sites)
    sites.wait_protected()
    if sites.number_at_secondary() != sites.written or sites.differs():
        row.disorder(f"{label}: the SVOL is not the PVOL when the disk is well")


def _order_again(row: Row, sites: Sites, label: str, program: Program, refusal: Refusal) -> None:
    """A retry on the disk that still refuses meets it again, and brings nothing further."""
    before = refusal.met()
    with suppress(PairvolError):
        program.again(sites)
    try:
        wait_until(lambda: refusal.met() > before or program.passed(sites), SECONDS, "the disk to be asked again")
    except AssertionError as error:
        row.lose(f"{label}: {error}")
    if program.passed(sites):
        row.lose(f"{label}: the retry was taken for a success")
