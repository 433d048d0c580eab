"""Drills of a pair, carried out by the agent of the secondary site; either agent takes the command.

Owns the order at that host: images first, then devices, then the check; and
backwards at the end. What is open and what became of it is the controller's
to keep; a device is found by the name under which its image is attached.
What a death between two steps leaves is in DRILLS.md.
"""

from __future__ import annotations

import time
from contextlib import suppress

from controller.api.drills import Drill, DrillImage, DrillStamp, DrillStart, DrillState
from controller.api.models import ServerState, Volume
from controller.errors import ConflictError, NotFoundError, PairvolError, PeerError
from hostagent.api.drills import DrillLedger, DrillOrder, DrillReport
from hostagent.api.models import AttachOrder, Pair
from hostagent.drills.check import run_check
from hostagent.drills.moment import standing
from hostagent.drills.unconfirmed import LEASE_SECONDS, Unconfirmed, end_unfinished
from hostagent.host import Host
from hostagent.pairs import PairEvent, refuse_taken_over


def start(host: Host, group: str, order: DrillOrder, *, forwarded: bool = False) -> DrillReport:
    """Open a drill and check it; returns when the check has ended. The drill stays open, also when the check failed."""
    refuse_taken_over(host.store.get(group), PairEvent.DRILL)
    owner = _owner(host, group, forwarded)
    if owner != host.site:
        return host.peers.get(owner).start_drill(group, order)
    end_unfinished(host, group)
    runner = host.runner(group)
    with standing(host, runner, runner.pair, order):
        began = time.monotonic()
        status = runner.status()
        ask = DrillStart(
            lag_seconds=status.lag_seconds,
            lag_bytes=status.lag_bytes,
            at=order.at or order.marker,
            opener=f"{host.config.host_name}/{host.run}",
            lease_seconds=LEASE_SECONDS,
        )
        drill = host.controller.start_drill(group, ask)
    unconfirmed = Unconfirmed(host, drill)
    try:
        return _report(host, _make_ready(host, drill, order, began))
    finally:
        unconfirmed.ready(host.config.drill.confirm_seconds)


def _make_ready(host: Host, drill: Drill, order: DrillOrder, began: float) -> Drill:
    """Devices of its images, and the check; a drill without devices is ended, one whose check failed is not."""
    group = drill.group
    try:
        devices = {image.volume: _attach(host, image) for image in drill.images}
        seconds = time.monotonic() - began
        ready = DrillStamp(ready_seconds=seconds, attached=True, confirmed=not order.confirms)
        drill = host.controller.stamp_drill(group, drill.number, ready)
    except BaseException:
        with suppress(PairvolError):
            _end(host, drill)
        raise
    if order.check is not None:
        check = run_check(drill, devices, order.check, order.check_seconds)
        drill = host.controller.stamp_drill(group, drill.number, DrillStamp(check=check))
    return drill


def confirm(host: Host, group: str, number: int, *, forwarded: bool = False) -> DrillReport:
    """Who asked for a drill knows that it is open; given again it changes nothing. Refused when it is over."""
    owner = _owner(host, group, forwarded)
    if owner != host.site:
        return host.peers.get(owner).confirm_drill(group, number)
    drill = host.controller.stamp_drill(group, number, DrillStamp(confirmed=True))
    if drill.state is not DrillState.OPEN:
        raise ConflictError(
            f"drill {number} of {group} is over: {drill.state}{f', {drill.reason}' if drill.reason else ''}",
            hint=f'Start another one: "pairvol drill start {group}"; see "pairvol drill list {group}".',
            group=group,
        )
    return _report(host, drill)


def stop(host: Host, group: str, number: int | None, *, forwarded: bool = False) -> list[DrillReport]:
    """End one drill, or all of a group; refused while a device is in use. Ended ones lose devices that are left."""
    owner = _owner(host, group, forwarded)
    if owner != host.site:
        return host.peers.get(owner).stop_drill(group, number)
    known = host.controller.drills(group)
    chosen = [drill for drill in known if drill.number == number or (number is None and _present(host, drill))]
    if number is not None and not chosen:
        raise NotFoundError(f"group {group} has no drill {number}", hint=f'See "pairvol drill list {group}".')
    return [_report(host, _end(host, drill)) for drill in chosen]


def ledger(host: Host, group: str | None) -> DrillLedger:
    """The drills of a group, or all, at whichever site they were; roles may have changed since."""
    if group is not None:
        host.store.get(group)
    drills, silent = here(host, group), []
    for site in sorted(host.config.peers):
        try:
            drills += host.peers.get(site).drills(group)
        except PeerError:
            silent.append(site)
    since = {site: moment for site in silent if (moment := _unknown_since(host, site))}
    return DrillLedger(drills=sorted(drills, key=lambda drill: drill.started_ns), silent=silent, unknown_since_ns=since)


def _unknown_since(host: Host, site: str) -> int:
    """When a site that did not answer just now was last heard, about any pair or at all; 0: never."""
    runners = [
        runner for runner in host.runners.all() if site in (runner.pair.primary.site, runner.pair.secondary.site)
    ]
    if runners:
        return max(runner.unknown_since(site) for runner in runners)
    return host.peers.get(site).known().last_contact_ns


def here(host: Host, group: str | None) -> list[DrillReport]:
    """The drills of this site."""
    return [_report(host, drill) for drill in host.controller.drills(group)]


def refuse_open(host: Host, pair: Pair, doing: str) -> None:
    """ConflictError while a drill of a pair is open at its secondary site."""
    site = pair.secondary.site
    known = here(host, pair.group) if site == host.site else host.peers.get(site).drills(pair.group)
    numbers = [str(drill.number) for drill in known if drill.state in (DrillState.OPEN, DrillState.STARTING)]
    if numbers:
        raise ConflictError(
            f"cannot {doing}: drill {', '.join(numbers)} is open at {site}",
            hint=f'Stop it first: "pairvol drill stop {pair.group}"; or add --force.',
            group=pair.group,
            drills=len(numbers),
        )


def release_devices(host: Host, group: str) -> None:
    """The drills of a group are over: let go of devices that nobody uses any more."""
    with suppress(PairvolError):
        for drill in host.controller.drills(group):
            for image in drill.images:
                with suppress(PairvolError):
                    host.devices.detach(image.attachment)


def _owner(host: Host, group: str, forwarded: bool) -> str:
    """The site with the images: the secondary's, as long as it is one."""
    pair = host.store.get(group)
    if forwarded and pair.secondary.site != host.site:
        raise ConflictError(f"{host.site} is not the secondary of {group}", hint='See "pairvol pair list".')
    return pair.secondary.site


def _attach(host: Host, image: DrillImage) -> str:
    volume = Volume(
        name=image.attachment,
        uuid="",
        size_bytes=image.size_bytes,
        backing="",
        uri=image.uri,
        server=ServerState.RUNNING,
    )
    attachment = host.devices.attach(volume, AttachOrder(volume=volume.name))
    return attachment.device or attachment.uri


def _end(host: Host, drill: Drill) -> Drill:
    for image in drill.images:
        with suppress(NotFoundError):
            host.devices.detach(image.attachment)
    return host.controller.stop_drill(drill.group, drill.number)


def _present(host: Host, drill: Drill) -> bool:
    return drill.state in (DrillState.OPEN, DrillState.STARTING) or bool(_devices(host, drill))


def _devices(host: Host, drill: Drill) -> dict[str, str]:
    attached = {each.volume: each.device or each.uri for each in host.devices.shown()}
    return {image.volume: attached[image.attachment] for image in drill.images if image.attachment in attached}


def _report(host: Host, drill: Drill) -> DrillReport:
    return DrillReport(**drill.model_dump(), site=host.site, devices=_devices(host, drill))
