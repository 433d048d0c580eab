"""Copy workers of the secondary groups of this appliance.

Owns starting one worker (controller/copy/worker.py) for each secondary group,
and the opened volumes that it writes to. Orders go straight to the worker,
which checks them against what it has.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any, Final

from controller.api.models import Role
from controller.copy.link import DataLink, LinkMaker
from controller.copy.worker import SecondaryGroup
from controller.errors import ConflictError, PairvolError
from controller.events import Events
from controller.groups.marker_list import MarkerList
from controller.journal.volume import JournalVolume
from controller.paths import GroupPaths, Paths
from controller.state import GroupRecord, Phase, StateDocument
from controller.volume.backing import Backing

SOON_SECONDS: Final = 1.5  # shorter than an agent's patience


@dataclass(frozen=True)
class _Running:
    worker: SecondaryGroup
    targets: dict[int, Backing]

    def stop(self) -> None:
        self.worker.stop()
        for backing in self.targets.values():
            backing.close()


class Workers:
    """The running workers, by group. Any thread may call; the group's lock orders start and stop."""

    def __init__(self, paths: Paths, events: Events, link_type: LinkMaker = DataLink) -> None:
        self._link_type = link_type
        self._paths = paths
        self._events = events
        self._changed = threading.Condition()
        self._running: dict[str, _Running] = {}
        self._failures: dict[str, PairvolError] = {}

    def start(self, group: GroupRecord, document: StateDocument) -> SecondaryGroup:
        """Open the group's journal and volumes and begin to serve orders; a running worker is kept.

        What hinders it is raised now, and again whenever the worker is asked for.
        """
        with self._changed:
            running = self._running.get(group.name)
            if running is None:
                try:
                    running = self._running[group.name] = self._open(group, document)
                except PairvolError as error:
                    self._failures[group.name] = error
                    raise
                finally:
                    self._changed.notify_all()
                self._failures.pop(group.name, None)
            return running.worker

    def renew(self, group: GroupRecord, document: StateDocument) -> None:
        """Put a fresh worker in the place of one that takes no more orders; what hinders it, `get` tells."""
        self.stop(group.name)
        with suppress(PairvolError):
            self.start(group, document)

    def get(self, group: GroupRecord) -> SecondaryGroup:
        """The worker of a secondary group; raises why there is none.

        Between two lives of a group, or when it has just become secondary,
        its worker is on the way, and is waited for.
        """
        with self._changed:
            if group.role is Role.SECONDARY and group.phase is Phase.READY:
                known = (self._running, self._failures)
                self._changed.wait_for(lambda: any(group.name in each for each in known), SOON_SECONDS)
            running = self._running.get(group.name)
            failure = self._failures.get(group.name)
        if running is not None:
            return running.worker
        if failure is not None and group.role is Role.SECONDARY:
            raise failure
        raise ConflictError(
            f"group {group.name} is {group.role} here ({group.phase}) and takes no journals",
            hint="Give this order to the site that holds the secondary volumes.",
            group=group.name,
            role=str(group.role),
        )

    def stop(self, group: str) -> None:
        """End a worker; its journal and volumes are closed when this returns."""
        with self._changed:
            running = self._running.pop(group, None)
            self._failures.pop(group, None)
        if running is not None:
            running.stop()

    def stop_all(self) -> None:
        with self._changed:
            names = list(self._running)
        for name in names:
            self.stop(name)

    def _open(self, group: GroupRecord, document: StateDocument) -> _Running:
        def on_event(level: str, name: str, message: str, facts: Mapping[str, Any]) -> None:
            self._events.emit(level, f"group.{name}", f"group {group.name}: {message}", facts, group=group.name)

        files = GroupPaths(self._paths.group(group.name))
        targets: dict[int, Backing] = {}
        with ExitStack() as undo:
            for member in group.volumes:
                backing = Backing.open(document.volume(member.name).backing, member.size_bytes)
                undo.callback(backing.close)
                targets[member.index] = backing
            worker = SecondaryGroup(
                group.name,
                group.uuid,
                _generation(group),
                group.journal_path,
                str(files.pointers),
                targets,
                files.copy_state,
                on_event,
                on_markers=MarkerList(files.markers).collect,
                split=group.split,
                held=bool(group.drills),
                taking_over=group.phase is Phase.TAKING_OVER,
                link_type=self._link_type,
            )
            undo.pop_all()
        return _Running(worker, targets)


def _generation(group: GroupRecord) -> int:
    """The group's generation; a takeover that was cut short may have raised the journal's already."""
    if group.next_generation is None:
        return group.generation
    journal = JournalVolume.open(group.journal_path, writable=False, group_uuid=group.uuid)
    try:
        return max(group.generation, journal.header.generation)
    finally:
        journal.close()
