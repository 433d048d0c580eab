"""What a controller does first: settle what the last one left, and get everything running.

Owns the start order. Nothing here waits for a server: keepers adopt or start
them side by side. Commands that a crash cut short are undone or finished (see
STATE.md) in the background, each under its group's lock, so that the
interface answers at once.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial

from controller import plans, pool, serving, volumes
from controller.api.models import Role
from controller.appliance import Appliance
from controller.errors import PairvolError
from controller.groups import delete, takeover
from controller.servers import stop_strays
from controller.state import Phase, StateDocument

_log = logging.getLogger("pairvol.settle")


def settle(appliance: Appliance) -> threading.Thread:
    """Get everything running; returns the thread that finishes what was cut short."""
    with appliance.store.change() as draft:
        for group in draft.groups.values():
            if group.phase is Phase.CREATING:  # nobody was told of it
                group.phase = Phase.DELETING
    document = appliance.store.document
    kept = {appliance.paths.pidfile(server) for server in _expected(document)}
    for pid in stop_strays(appliance.paths.run, kept):
        appliance.events.emit("warning", "server.stray", f"ended stray server process {pid}", {"pid": pid})
    _settle_volumes(appliance, document)
    document = appliance.store.document
    for server, told in plans.documents(document, appliance.config, appliance.paths):
        serving.serve(appliance, server, told)
    for group in document.groups.values():
        if plans.has_journal_in_use(group) and group.phase is Phase.READY:
            serving.serve_journal(appliance, group)
        elif group.role is Role.SECONDARY and group.phase is not Phase.DELETING:
            name = group.name
            _attempt(appliance, name, "start copy worker", partial(_start_worker, appliance, name))
    thread = threading.Thread(target=_finish, args=(appliance, document), name="settle", daemon=True)
    thread.start()
    return thread


def _expected(document: StateDocument) -> set[str]:
    """Ids of every server that may rightly run, also for groups in mid-command."""
    servers = {plans.own_server(volume) for volume in document.volumes}
    for group in document.groups.values():
        if group.role is Role.SECONDARY:
            servers -= {plans.own_server(member.name) for member in group.volumes}
            continue
        servers.add(plans.group_server(group.volumes, group.name))
        if len(group.volumes) > 1 and group.phase is Phase.READY:
            servers -= {plans.own_server(member.name) for member in group.volumes}
        if plans.has_journal_in_use(group):
            servers |= {plans.journal_server(group.name), plans.source_server(group.name)}
    return servers


def _settle_volumes(appliance: Appliance, document: StateDocument) -> None:
    for volume in document.volumes.values():
        if volume.phase is not Phase.READY:
            volumes.remove(appliance, volume.name)
    for pool_volume in document.pool.values():
        if pool_volume.phase is not Phase.READY:
            pool.forget(appliance, pool_volume.name)


def _start_worker(appliance: Appliance, name: str) -> None:
    document = appliance.store.document
    appliance.workers.start(document.group(name), document)


def _finish(appliance: Appliance, document: StateDocument) -> None:
    for group in document.groups.values():
        name = group.name
        if group.phase is Phase.DELETING:
            _attempt(appliance, name, "finish the deletion", partial(_finish_deletion, appliance, name))
        elif group.phase is Phase.TAKING_OVER:
            _attempt(appliance, name, "finish the takeover", partial(_finish_takeover, appliance, name))


def _finish_deletion(appliance: Appliance, name: str) -> None:
    members = [volume.name for volume in appliance.store.document.group(name).volumes]
    with appliance.locks.hold(groups=[name], volumes=members):
        if name in appliance.store.document.groups:
            delete.finish(appliance, name, force=False)


def _finish_takeover(appliance: Appliance, name: str) -> None:
    with appliance.locks.hold(groups=[name]):
        if appliance.store.document.group(name).phase is Phase.TAKING_OVER:
            takeover.finish(appliance, name)


def _attempt(appliance: Appliance, group: str, what: str, act: Callable[[], None]) -> None:
    """Do one thing of many; what hinders it is told and does not hinder the others."""
    try:
        act()
    except PairvolError as error:
        facts = {"hint": error.hint}
        appliance.events.emit(
            "error", "group.unsettled", f"cannot {what} of group {group}: {error.message}", facts, group=group
        )
    except Exception as error:  # noqa: BLE001 - boundary: one group must not keep the others down
        _log.exception("mistake in the program: cannot %s of group %s", what, group)
        appliance.events.emit("error", "group.unsettled", f"cannot {what} of group {group}: {error!r}", group=group)
