"""One host made quiet for a moment: commands before, file systems frozen, thawed, commands after.

| step | when the agent dies after it |
|---|---|
| 1 what is about to happen is written down | the next agent runs `after`, which finds nothing to undo |
| 2 commands `before` | `after` is run by the next agent |
| 3 frozen | the warden thaws at once; the next agent thaws what a killed warden left, and runs `after` |
| 4 the moment: a marker, the end of writes | the same |
| 5 thawed; 6 commands `after`; 7 the note is removed | `after` may be run twice |

`after` and the thaw happen whatever failed. Owns this order at one host; which
hosts, and what the moment is for, others know.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from controller.api.shape import Shape
from controller.errors import ConflictError, PairvolError
from controller.events import Events
from hostagent import documents
from hostagent.attach.devices import Devices
from hostagent.config import HookSettings
from hostagent.hooks.commands import run_all
from hostagent.hooks.freeze import Frozen, thaw_all

INTERRUPTED: Final = "interrupted"


@dataclass
class _Moment:
    environment: dict[str, str]
    frozen: Frozen | None = None


class _Noted(Shape):
    """Of a moment, what the next agent needs to end it."""

    environment: dict[str, str]
    points: list[str]


class Quiet:
    """Of one host. Any thread may call; one moment of a group at a time."""

    def __init__(self, path: Path, settings: HookSettings, devices: Devices, events: Events) -> None:
        self._path, self._settings = path, settings
        self._devices, self._events = devices, events
        self._lock = threading.Lock()
        self._moments: dict[str, _Moment] = {}

    @property
    def configured(self) -> bool:
        return bool(self._settings.before or self._settings.after)

    def begin(self, group: str, volumes: list[str], facts: dict[str, str], *, freeze: bool) -> list[str]:
        """Make the host quiet; which mount points are frozen. What fails leaves nothing frozen, and ran `after`."""
        moment = _Moment({"PAIRVOL_GROUP": group, **facts})
        points = self._points(volumes) if freeze else []
        with self._lock:
            if group in self._moments:
                raise ConflictError(
                    f"a moment of {group} is under way at this host already", hint="Wait for it and try again."
                )
            self._note(group, moment, points)
            self._moments[group] = moment
        try:
            run_all(self._settings.before, self._settings.timeout_seconds, self._with(moment, "before"))
            if points:
                moment.frozen = Frozen(points, self._settings.timeout_seconds)
        except BaseException as error:
            self._finish(group, moment, "failed", error)
            raise
        return points

    def end(self, group: str, *, good: bool) -> None:
        """Go on: thaw, run `after`. Raises when the quiet did not last, or `after` failed."""
        with self._lock:
            moment = self._moments.get(group)
        if moment is not None:
            self._finish(group, moment, "ok" if good else "failed", None)

    def recover(self) -> None:
        """At start: end what an earlier agent began."""
        for group, found in self._noted().items():
            thaw_all(found.points)
            words = f"a moment of {group} was cut short: thawed, commands after it are run"
            self._events.emit("warning", "hooks.interrupted", words, {"points": found.points}, group=group)
            moment = _Moment(found.environment)
            try:
                self._run_after(moment, INTERRUPTED)
            except PairvolError as error:
                self._events.emit("error", "hooks.failed", error.message, group=group)
            self._forget(group)

    def _finish(self, group: str, moment: _Moment, result: str, raising: BaseException | None) -> None:
        """Thaw and `after`, each whatever the other does; the first error is raised unless one is on its way."""
        first: PairvolError | None = None
        try:
            if moment.frozen is not None:
                moment.frozen.thaw()
        except PairvolError as error:
            first, result = error, "failed"
        try:
            self._run_after(moment, result)
        except PairvolError as error:
            first = first or error
        try:
            with self._lock:
                self._moments.pop(group, None)
                self._forget(group)
        except PairvolError as error:
            first = first or error
        if first is not None:
            self._events.emit("error", "hooks.failed", first.message, group=group)
            if raising is None:
                raise first

    def _run_after(self, moment: _Moment, result: str) -> None:
        environment = self._with(moment, "after") | {"PAIRVOL_RESULT": result}
        run_all(self._settings.after, self._settings.timeout_seconds, environment)

    def _with(self, moment: _Moment, stage: str) -> dict[str, str]:
        return {**moment.environment, "PAIRVOL_STAGE": stage}

    def _points(self, volumes: list[str]) -> list[str]:
        """Where file systems on these volumes are mounted; bind mounts of one are frozen once."""
        found: dict[Any, str] = {}
        for each in self._devices.shown():
            points = each.facts.get("mounted_at") or []
            if each.volume in volumes and not each.facts.get("readonly"):
                for point in points:
                    found.setdefault(Path(point).stat().st_dev, point)
        return sorted(found.values())

    # -- what is written down ------------------------------------------------------

    def _noted(self) -> dict[str, _Noted]:
        mend = "remove it when no file system here is frozen"
        return documents.read(self._path, "moments", dict[str, _Noted], mend) or {}

    def _note(self, group: str, moment: _Moment, points: list[str]) -> None:
        self._write(self._noted() | {group: _Noted(environment=moment.environment, points=points)})

    def _forget(self, group: str) -> None:
        noted = self._noted()
        if noted.pop(group, None) is not None:
            self._write(noted)

    def _write(self, noted: dict[str, _Noted]) -> None:
        documents.write(self._path, "moments", {group: each.model_dump() for group, each in noted.items()})
