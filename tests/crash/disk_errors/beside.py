"""What is written beside the work of a pair, and must not stop it: an event says what the disk refuses.

The record of the pair that each controller keeps for another host, the past
of the pair at an agent, and what is written to the image of a drill.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path

import nbd

from controller.api.models import Event
from hostagent.api.drills import DrillOrder
from hostagent.api.models import PairState
from hostagent.cli.demo.sites import Daemon
from hostagent.client import Agent
from tests.crash.disk_errors.full import small_disk
from tests.crash.disk_errors.refusal import Fault
from tests.crash.disk_errors.sites import GROUP, SECONDS, VOLUME, VOLUME_BYTES, Sites
from tests.crash.results import Row
from tests.support.nbdkit import connected, unix_uri
from tests.support.waiting import wait_until


def pair_record(row: Row, sites: Sites, met: Sequence[Fault]) -> None:
    """`pair.json`: the pair goes on, its agent says it, and keeps the record when the disk is well."""
    limit = 1 << 20
    for site, agent in ((sites.now, sites.primary), (sites.other, sites.secondary)):
        document = sites.group_of(site) / "pair.json"
        for fault in met:
            label, known, limit = f"record of the pair at {site.name}, {fault}", _last(agent), limit + 1
            row.attempted += 1
            with sites.refused(sites.pid(site, Daemon.CONTROLLER), fault, document) as refusal:
                sites.primary.set_pair(GROUP, limit)
                _judge_event(row, label, agent, "pair.not_kept", fault, known)
                row.reached += refusal.met() > 0
                if sites.status().state is not PairState.PAIR:
                    row.lose(f"{label}: {sites.status().line}")
            _wait_kept(label, document, limit)


def _wait_kept(label: str, document: Path, limit: int) -> None:
    wait_until(lambda: str(limit) in document.read_text(), SECONDS, f"{label}: the record to be kept")


def past(row: Row, sites: Sites) -> None:
    """The ledger of an agent: a takeover is done all the same, and says that its past does not tell of it."""
    for fault in (Fault("fsync", "file", errno.EIO), Fault("fsync", "directory", errno.EIO)):
        label = f"past of the pair, {fault}"
        row.attempted += 1
        ledger = sites.other.state_directory(Daemon.AGENT) / "history" / f"{GROUP}.jsonl"
        agent, known = sites.secondary, _last(sites.secondary)
        with sites.refused(sites.pid(sites.other, Daemon.AGENT), fault, ledger) as refusal:
            report = agent.take_over(GROUP)
            row.reached += refusal.met() > 0
            _judge_event(row, label, agent, "history.failed", fault, known)
            if report.kind != "planned" or not report.reversed:
                row.lose(f"{label}: the takeover came to {report}")
            if agent.pair_history(GROUP).takeovers:
                row.lose(f"{label}: what the disk refused is told as remembered")
        sites.turned()
        sites.wait_protected()


def overlay(row: Row, sites: Sites) -> None:
    """No room for what is written to the image of a drill: its writer is told, SVOL and pair are not touched."""
    row.attempted += 1
    with small_disk(sites.other.state_directory(Daemon.CONTROLLER) / "drills", "512k"):
        drill = sites.secondary.start_drill(GROUP, DrillOrder())
        try:
            socket = sites.other.directory / "run" / f"{drill.images[0].server}.sock"
            with connected(unix_uri(socket, VOLUME)) as handle:
                told = 0
                for start in range(0, VOLUME_BYTES, 1 << 16):
                    try:
                        handle.pwrite(b"x" * (1 << 16), start)
                    except nbd.Error as error:
                        told = told or error.errnum
            row.reached += told > 0
            if told != errno.ENOSPC:
                row.lose(f"overlay of a drill: its writer was told {told}")
        finally:
            sites.secondary.stop_drill(GROUP)
    sites.write()
    sites.wait_protected()
    if sites.differs():
        row.disorder("overlay of a drill: the SVOL is not the PVOL")


def _last(agent: Agent) -> int:
    return max((event.number for event in agent.events()), default=0)


def _judge_event(row: Row, label: str, agent: Agent, name: str, fault: Fault, after: int) -> None:
    def found() -> Event | None:
        return next((each for each in agent.events(after) if each.name == name), None)

    try:
        event = wait_until(found, SECONDS, f"the event {name}")
    except AssertionError as error:
        row.lose(f"{label}: {error}")
        return
    assert event is not None
    if event.level != "error" or not fault.named_in(event.message):
        row.lose(f"{label}: {event}")
