"""A controller that dies at a chosen step: python -m tests.support.mortal CONFIG

A step is a call that leaves something behind outside the process: a document
written, a file removed, a server commanded or started, a journal laid out.
While the file CONFIG with the suffix `.die` is there, steps are counted, and
the process kills itself right after the step whose number that file holds, or
after the N-th of one name when it holds `N NAME`; the names are those of
PROGRAM_STEPS. A file with the suffix `.died` then holds the name.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from controller import control_client, daemon, durable, process, serving
from controller.copy import initials
from controller.copy.fitting import end_of
from controller.copy.initial import InitialCopyRun
from controller.copy.pull import JournalPull
from controller.copy.worker import SecondaryGroup
from controller.groups import demote, fence, orphans, promote, standing, takeover
from controller.groups.confirmations import Confirmations
from controller.groups.marker_list import MarkerList
from controller.journal.layout import Records
from controller.journal.pointers import Pointer, PointerPage
from controller.journal.volume import JournalVolume
from controller.restore.program import RestoreProgram
from controller.restore.safepoint import SafePoint
from controller.restore.space import JournalSpace
from controller.restore.targets import Targets
from controller.volume import dirty

STEPS = (
    (durable, "replace"),
    (durable, "remove"),
    (durable, "sync_directory"),
    (control_client, "command"),
    (process, "spawn"),
    (JournalVolume, "create"),
    (JournalVolume, "set_generation"),
    (PointerPage, "create"),
    (SecondaryGroup, "finish_restore"),
    (SecondaryGroup, "stop"),
    (SafePoint, "roll_back"),
    (os, "rename"),
)
_publish = (PointerPage, "publish")
PROGRAM_STEPS: Final[dict[str, tuple[Any, str, object]]] = {  # what is called, and an argument that it must have
    "copy: read scheduled": (*_publish, Pointer.READ_SCHEDULED),
    "copy: fetched": (JournalPull, "_fetch", None),
    "copy: records written": (JournalVolume, "write_records", None),
    "copy: journal synced": (JournalVolume, "sync", None),
    "copy: already read": (*_publish, Pointer.ALREADY_READ),
    "restore: scheduled": (*_publish, Pointer.RESTORE_SCHEDULED),
    "restore: applied": (RestoreProgram, "_apply_locked", None),
    "restore: volumes synced": (Targets, "sync", None),
    "restore: markers told": (MarkerList, "collect", None),
    "restore: already restored": (*_publish, Pointer.ALREADY_RESTORED),
    "purge: reclaimed": (JournalSpace, "reclaim", None),
    "purge: noted": (Confirmations, "note", None),
    "purge: confirmed": (*_publish, Pointer.CONFIRMED),
    "copy of volumes: progress": (initials, "store", None),
    "copy of volumes: window": (InitialCopyRun, "_copy", None),
    "copy of volumes: complete": (InitialCopyRun, "_complete", None),
    "resync: safe point open": (SafePoint, "begin", None),
    "resync: content saved": (SafePoint, "protect", None),
    "resync: own map forgotten": (dirty, "forget", None),
    "resync: safe point dropped": (SafePoint, "discard", None),
    "resync: resume told": (serving, "tell", None),
    "resync: resumed": (control_client, "command", "resume"),
    "resync: epoch cleared": (control_client, "command", "clear_epoch"),
    "split: suspended": (control_client, "command", "suspend"),
    "takeover: writes refused": (fence, "start_serving", None),
    "takeover: intent": (takeover, "_begin", None),
    "takeover: restored": (takeover, "_restore", None),
    "takeover: generation in the journal": (JournalVolume, "set_generation", None),
    "takeover: copies forgotten": (standing, "forget_copies", None),
    "takeover: served": (takeover, "start_serving", None),
    "takeover: old primary fenced": (fence, "stop_serving", None),
    "demote: ended": (demote, "stop_serving", None),
    "demote: judged": (orphans, "judge", None),
    "demote: tail kept": (demote, "_keep_tail", None),
    "demote: fresh journal": (demote, "_make_room", None),
    "promote: served": (promote, "start_serving", None),
    "promote: resumed": (promote, "command_resume", None),
    "promote: journal served": (serving, "serve_journal", None),
    "take back: site that took over fenced": (fence, "stop_serving", None),
    "take back: marked": (promote, "_take_back", None),
    "take back: resumed": (promote, "command_resume", None),
}


_write_records, _apply_records = JournalPull._publish, RestoreProgram._apply_locked


@dataclass(frozen=True)
class Mutant:
    """One mistake, and the step at which a death shows it."""

    owner: Any
    name: str
    call: Callable[..., Any]
    dies_at: str


def _reads_early(pull: JournalPull, records: Records, data: memoryview) -> None:
    pull._pointers.publish(Pointer.ALREADY_READ, end_of(records[-1]))
    _write_records(pull, records, data)


def _restores_early(program: RestoreProgram, first: int, last: int, records: Records) -> None:
    program._pointers.publish(Pointer.ALREADY_RESTORED, end_of(records[-1]))
    _apply_records(program, first, last, records)


MUTANTS: Final = {
    "read before it is written": Mutant(JournalPull, "_publish", _reads_early, "copy: already read"),
    "restored before it is": Mutant(RestoreProgram, "_apply_locked", _restores_early, "restore: already restored"),
}


class Death:
    """Counts steps while the file is there; a new file counts anew."""

    def __init__(self, order: Path) -> None:
        self._order = order
        self._lock = threading.Lock()
        self._count = 0
        self._written = 0

    def step(self, name: str, *, named: bool = False) -> None:
        with self._lock:
            try:
                written = self._order.stat().st_mtime_ns
                number, _, chosen = self._order.read_text().partition(" ")
                wanted = int(number)
            except (FileNotFoundError, ValueError):
                return
            if (chosen or None) != (name if named else None):
                return
            if written != self._written:
                self._count, self._written = 0, written
            self._count += 1
            if self._count >= wanted:
                self._order.with_suffix(".died").write_text(name)
                os.kill(os.getpid(), signal.SIGKILL)

    def after(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        @functools.wraps(call)
        def wrapped(*arguments: Any, **named: Any) -> Any:
            result = call(*arguments, **named)
            checks = any(getattr(each, "check", False) is True for each in arguments)
            if "status" not in arguments and not checks:  # asking leaves nothing behind
                self.step(name)
            return result

        return wrapped

    def after_named(self, call: Callable[..., Any], name: str, argument: object) -> Callable[..., Any]:
        @functools.wraps(call)
        def wrapped(*arguments: Any, **named: Any) -> Any:
            result = call(*arguments, **named)
            if argument is None or argument in arguments[:3]:
                self.step(name, named=True)
            return result

        return wrapped


def wrap(owner: Any, name: str, death: Death) -> None:
    """Make a call of a module or class a step."""
    _replace(owner, name, lambda call: death.after(call, f"{owner.__name__.rpartition('.')[2]}.{name}"))


def _replace(owner: Any, name: str, made: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    call = getattr(owner, name)
    wrapped = made(call)
    bound = isinstance(owner, type) and getattr(call, "__self__", None) is owner
    setattr(owner, name, staticmethod(wrapped) if bound else wrapped)


def main(config: str) -> None:
    mutant = MUTANTS.get(os.environ.get("PAIRVOL_MUTANT", ""))
    if mutant is not None:
        setattr(mutant.owner, mutant.name, mutant.call)
    death = Death(Path(config).with_suffix(".die"))
    for owner, name in STEPS:
        wrap(owner, name, death)
    for step, (owner, name, argument) in PROGRAM_STEPS.items():
        _replace(owner, name, functools.partial(death.after_named, name=step, argument=argument))
    daemon.run(config)


if __name__ == "__main__":
    main(sys.argv[1])
