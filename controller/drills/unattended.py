"""Drills that end although nobody stopped them, and what a controller does with drills at its start.

| what happened | drill |
|---|---|
| the controller ended while it started | failed |
| an image ended by itself, under a controller or while there was none | lost |
| nobody confirmed it, and no agent renewed its lease | stopped, with that reason |
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial

from controller.api.drills import DrillState
from controller.appliance import Appliance
from controller.drills.commands import UNCONFIRMED, finish
from controller.errors import PairvolError


def settle(appliance: Appliance) -> None:
    """At start, before any restore: take up the images that are served, end what is of no use."""
    for group in list(appliance.store.document.groups.values()):
        for drill in group.drills:
            if drill.state is DrillState.STARTING:
                finish(appliance, drill, DrillState.FAILED, "the controller ended while it started")
                continue
            if not appliance.images.adopt(drill.images):
                finish(appliance, drill, DrillState.LOST, "an image had ended when the controller started")
                continue
            if drill.lease_seconds is not None:
                appliance.leases.renew(drill.number, drill.lease_seconds)
            if drill not in appliance.ledger.all(group.name):
                with suppress(PairvolError):  # it must not keep the controller from its work
                    appliance.ledger.write(drill)  # a crash came between the record and this
    appliance.images.watch(partial(_ended, appliance))
    appliance.leases.watch(partial(_lapsed, appliance))


def _ended(appliance: Appliance, servers: set[str]) -> None:
    """Images ended by themselves: their drills are over, whole."""
    for group in list(appliance.store.document.groups.values()):
        for drill in group.drills:
            dead = servers & {image.server for image in drill.images}
            if not dead:
                continue
            with suppress(PairvolError), appliance.locks.hold(groups=[group.name]):
                present = appliance.store.document.groups.get(group.name)
                if present is not None and any(each.number == drill.number for each in present.drills):
                    words = ", ".join(f"image {name} ended: {appliance.images.last_words(name)}" for name in dead)
                    finish(appliance, drill, DrillState.LOST, words)


def _lapsed(appliance: Appliance, number: int) -> None:
    """No agent has a word to say for a drill that nobody confirmed: it holds restore for nobody."""
    for group in list(appliance.store.document.groups.values()):
        if all(drill.number != number for drill in group.drills):
            continue
        with suppress(PairvolError), appliance.locks.hold(groups=[group.name]):
            present = appliance.store.document.groups.get(group.name)
            for drill in present.drills if present is not None else []:
                if drill.number != number or not appliance.leases.lapsed(number):
                    continue
                if drill.lease_seconds is None:  # confirmed, while its agent renewed the lease of the drill it knew
                    appliance.leases.drop(number)
                else:
                    finish(appliance, drill, DrillState.STOPPED, UNCONFIRMED)
        return
    appliance.leases.drop(number)
