"""What a controller does first: settle what the last one left, and get everything running.

Owns the start order. Nothing here waits for a server: keepers adopt or start
them side by side. Commands that a crash cut short are undone or finished (see
STATE.md) in the background, each under its group's lock, so that the
interface answers at once.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from functools import partial

from controller import growth, plans, pool, process, serving, volumes
from controller.api.models import Role
from controller.appliance import Appliance
from controller.config import Config
from controller.drills import unattended
from controller.errors import DiskFullError, PairvolError
from controller.groups import delete, demote, fence, journal_size, members, takeover
from controller.servers import stop_strays
from controller.state import GroupRecord, Phase, StateDocument

_log = logging.getLogger("pairvol.settle")


def settle(appliance: Appliance) -> threading.Thread:
    """Get everything running; returns the thread that finishes what was cut short."""
    created = [group.name for group in appliance.store.document.groups.values() if group.phase is Phase.CREATING]
    for name in created:
        _attempt(appliance, name, "undo the creation", partial(_undo_creation, appliance, name))
    document = appliance.store.document
    kept = {appliance.paths.pidfile(server) for server in _expected(document, appliance.config)}
    for pid in stop_strays(appliance.paths.run, kept):
        appliance.events.emit("warning", "server.stray", f"ended stray server process {pid}", {"pid": pid})
    _attempt(appliance, None, "settle the drills", partial(unattended.settle, appliance), again=False)
    for group in document.groups.values():
        _attempt(appliance, group.name, "settle the journal", partial(_settle_journal, appliance, group.name))
    _settle_volumes(appliance, document)
    document = appliance.store.document
    waiting = {plans.group_server(group) for group in _returning(appliance, document)}
    for server, _ in plans.documents(document, appliance.config, appliance.paths):
        if server not in waiting:
            _attempt(appliance, None, f"start {server}", partial(_serve, appliance, server))
    for group in document.groups.values():
        if plans.exports_journal(group) and group.phase is Phase.READY:
            serving.serve_journal(appliance, group)
        elif group.role is Role.SECONDARY and group.phase is Phase.READY:
            name = group.name
            _attempt(appliance, name, "start copy worker", partial(_start_worker, appliance, name))
    thread = threading.Thread(target=_finish, args=(appliance, document), name="settle", daemon=True)
    thread.start()
    return thread


def _expected(document: StateDocument, config: Config) -> set[str]:
    """Ids of every server that may rightly run, also for groups in mid-command."""
    servers = {plans.own_server(volume) for volume in document.volumes.values()}
    for group in document.groups.values():
        members = [document.volumes[member.name] for member in group.volumes if member.name in document.volumes]
        own = {plans.own_server(volume) for volume in members}
        # In mid-command who serves without a journal ends: its map must not be found again with it by who serves next.
        tracks = group.role in (Role.SECONDARY, Role.TAKEN_OVER) and group.phase is not Phase.READY
        ended = group.phase is Phase.DEMOTING or tracks
        if ended or not plans.serves_volumes(group):
            servers -= own
        else:
            if len(group.volumes) > 1 and group.phase is Phase.READY:
                servers -= own
            servers.add(plans.group_server(group))
        if plans.exports_journal(group) and group.phase is not Phase.DEMOTING:
            servers |= {plans.journal_server(group.name), plans.source_server(group.name)}
            if plans.compresses(group, config):
                servers.add(plans.relay_server(group.name))
        servers.update(image.server for drill in group.drills for image in drill.images)
    return servers


def _returning(appliance: Appliance, document: StateDocument) -> Iterator[GroupRecord]:
    """Primaries that were away, and wait for the order to serve. One whose volume server lived on was not."""
    for group in document.groups.values():
        server = plans.group_server(group)
        if group.role is not Role.PRIMARY or group.phase is not Phase.READY:
            continue
        if (running := process.adopt(appliance.paths.pidfile(server))) is not None:
            running.close()
            continue
        appliance.events.emit(
            "warning",
            "group.awaits_serve",
            f"group {group.name} does not serve hosts until the other site is known not to",
            {"generation": group.generation},
            group=group.name,
        )
        appliance.permits.wait(group.name, partial(_serve_alone, appliance, group.name))
        yield group


def _serve_alone(appliance: Appliance, name: str) -> None:
    """Nobody told in time: hosts go on, as configured."""

    def act() -> None:
        with appliance.locks.hold(groups=[name]):
            group = appliance.store.document.groups.get(name)
            if group is None or group.role is not Role.PRIMARY or not appliance.permits.awaits(name):
                return
            appliance.events.emit(
                "warning", "group.serves_alone", f"group {name} serves without word of the other site", group=name
            )
            appliance.permits.end_wait(name)
            fence.start_serving(appliance, name)
        members.settle(appliance, name)

    _attempt(appliance, name, "serve the volumes", act)


def _undo_creation(appliance: Appliance, name: str) -> None:
    """Nobody was told of it."""
    with appliance.locks.hold(groups=[name]), appliance.store.change() as draft:
        if name in draft.groups and draft.group(name).phase is Phase.CREATING:
            draft.group(name).phase = Phase.DELETING


def _settle_journal(appliance: Appliance, name: str) -> None:
    with appliance.locks.hold(groups=[name]):
        journal_size.settle(appliance, name)


def _settle_volumes(appliance: Appliance, document: StateDocument) -> None:
    for volume in document.volumes.values():
        if volume.phase is not Phase.READY:
            _attempt(appliance, None, f"remove volume {volume.name}", partial(_remove_volume, appliance, volume.name))
    for pool_volume in document.pool.values():
        if pool_volume.phase is not Phase.READY:
            name = pool_volume.name
            _attempt(appliance, None, f"remove pool volume {name}", partial(_forget_pool_volume, appliance, name))


def _remove_volume(appliance: Appliance, name: str) -> None:
    with appliance.locks.hold(volumes=[name]):
        volume = appliance.store.document.volumes.get(name)
        if volume is not None and volume.phase is not Phase.READY:
            volumes.remove(appliance, name)


def _forget_pool_volume(appliance: Appliance, name: str) -> None:
    with appliance.locks.hold(pool=[name]):
        pool_volume = appliance.store.document.pool.get(name)
        if pool_volume is not None and pool_volume.phase is not Phase.READY:
            pool.forget(appliance, name)


def _serve(appliance: Appliance, server: str) -> None:
    """Begin to keep a volume server, as the state is now."""
    for known, told in plans.documents(appliance.store.document, appliance.config, appliance.paths):
        if known == server:
            serving.serve(appliance, server, told)


def _start_worker(appliance: Appliance, name: str) -> None:
    document = appliance.store.document
    group = document.groups.get(name)
    if group is not None and group.role is Role.SECONDARY and group.phase is Phase.READY:
        appliance.workers.start(group, document)


def _finish(appliance: Appliance, document: StateDocument) -> None:
    for volume in document.volumes.values():
        if volume.next_size_bytes is not None:
            _attempt_volume(appliance, volume.name)
    for group in document.groups.values():
        name = group.name
        if group.phase is Phase.READY and (group.joining or group.leaving):
            _attempt(appliance, name, "settle the volumes", partial(members.settle, appliance, name))
        if group.phase in (Phase.CREATING, Phase.DELETING):  # the former when its undoing could not be written yet
            _attempt(appliance, name, "finish the deletion", partial(_finish_deletion, appliance, name))
        elif group.phase is Phase.TAKING_OVER:
            _attempt(appliance, name, "finish the takeover", partial(_finish_takeover, appliance, name))
        elif group.phase is Phase.DEMOTING:
            _attempt(appliance, name, "finish the demotion", partial(_finish_demotion, appliance, name))


def _finish_deletion(appliance: Appliance, name: str) -> None:
    group = appliance.store.document.groups.get(name)
    members = [volume.name for volume in group.volumes] if group is not None else []
    with appliance.locks.hold(groups=[name], volumes=members):
        _undo_creation(appliance, name)
        group = appliance.store.document.groups.get(name)
        if group is not None and group.phase is Phase.DELETING:
            delete.finish(appliance, name, force=False)


def _finish_takeover(appliance: Appliance, name: str) -> None:
    with appliance.locks.hold(groups=[name]):
        if appliance.store.document.group(name).phase is Phase.TAKING_OVER:
            takeover.finish(appliance, name)


def _finish_demotion(appliance: Appliance, name: str) -> None:
    members = [volume.name for volume in appliance.store.document.group(name).volumes]
    with appliance.locks.hold(groups=[name], volumes=members):
        if appliance.store.document.group(name).phase is Phase.DEMOTING:
            demote.finish(appliance, name)


def _attempt_volume(appliance: Appliance, name: str) -> None:
    """A growth that cannot be finished now goes on when it is ordered again."""
    try:
        growth.settle(appliance, name)
    except (PairvolError, OSError) as error:
        appliance.events.emit(
            "error", "volume.unsettled", f"cannot finish the growth of volume {name}: {error}", {"volume": name}
        )


def _attempt(
    appliance: Appliance, group: str | None, what: str, act: Callable[[], None], again: bool = True, told: bool = False
) -> None:
    """Do one thing of many; what hinders it is told and does not hinder the others.

    What a full disk hinders is told once, and tried again until there is room.
    """
    words = f"cannot {what}" if group is None else f"cannot {what} of group {group}"
    try:
        act()
    except PairvolError as error:
        full = isinstance(error, DiskFullError)
        if not (full and told):
            facts = {"hint": error.hint}
            appliance.events.emit("error", "group.unsettled", f"{words}: {error.message}", facts, group=group)
        if full and again:
            appliance.later.add(partial(_attempt, appliance, group, what, act, told=True))
    except Exception as error:  # noqa: BLE001 - boundary: one group must not keep the others down
        _log.exception("mistake in the program: %s", words)
        appliance.events.emit("error", "group.unsettled", f"{words}: {error!r}", group=group)
