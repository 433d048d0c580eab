"""The storage controller with one mutant of its changes in size applied, named by PAIRVOL_MUTANT: python -m ... CONFIG

Each turns round an order of steps, or leaves out a sync, that LIFECYCLE.md
counts on where volumes and journals grow, move, join and leave.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

from controller import daemon, durable, growth, plans, serving
from controller.groups import journal_size, members
from controller.journal.volume import JournalVolume

HESITATION_SECONDS = 0.2


def _hesitate() -> None:
    threading.Event().wait(HESITATION_SECONDS)


def size_before_store() -> None:
    """The new length is durable in the state a little before the backing store is that long."""
    kept = growth.finish

    def finish(appliance: Any, name: str) -> None:
        group = appliance.store.document.group_of(name)
        volume = appliance.store.document.volume(name)
        _set_size(appliance, name, group.name, volume.next_size_bytes, None)
        _hesitate()
        _set_size(appliance, name, group.name, volume.size_bytes, volume.next_size_bytes)
        kept(appliance, name)

    setattr(growth, "finish", finish)  # noqa: B010


def _set_size(appliance: Any, name: str, group: str, size_bytes: int, next_size_bytes: int | None) -> None:
    with appliance.store.change() as draft:
        draft.volume(name).size_bytes = size_bytes
        draft.volume(name).next_size_bytes = next_size_bytes
        for member in draft.group(group).volumes:
            if member.name == name:
                member.size_bytes = size_bytes


def switched_before_sync() -> None:
    """A journal gets its name a little before what was carried to it is durable."""

    class Lazy:
        @staticmethod
        def open(path: str, *, writable: bool, group_uuid: str) -> JournalVolume:
            volume = JournalVolume.open(path, writable=writable, group_uuid=group_uuid)
            if writable:
                setattr(volume, "sync", lambda: None)  # noqa: B010
            return volume

        header_of = staticmethod(JournalVolume.header_of)

    setattr(journal_size, "JournalVolume", Lazy)  # noqa: B010
    kept = os.rename

    def rename(source: Any, target: Any) -> None:
        kept(source, target)
        if str(source).endswith("journal.next"):
            durable.sync_directory(os.path.dirname(target))
            _hesitate()

    lenient = SimpleNamespace(**{**vars(os), "rename": rename})
    setattr(journal_size, "os", lenient)  # noqa: B010


def member_before_marks() -> None:
    """A volume is a member of its group a little before its regions are marked to be copied."""
    kept = members.finish_join

    def finish_join(appliance: Any, name: str) -> None:
        group = appliance.store.document.group(name)
        with appliance.store.change() as draft:
            draft.group(name).volumes = [*group.volumes, *group.joining]
            draft.group(name).joining = []
        document = appliance.store.document
        told = plans.group_document(document.group(name), document, appliance.config, appliance.paths)
        serving.tell(appliance, plans.group_server(group), told)
        _hesitate()
        with appliance.store.change() as draft:
            draft.group(name).volumes = group.volumes
            draft.group(name).joining = group.joining
        kept(appliance, name)

    setattr(members, "finish_join", finish_join)  # noqa: B010


MUTANTS: dict[str, Callable[[], None]] = {
    "size before its store": size_before_store,
    "journal switched before a sync": switched_before_sync,
    "member before its marks": member_before_marks,
}

if __name__ == "__main__":
    MUTANTS[os.environ["PAIRVOL_MUTANT"]]()
    with suppress(KeyboardInterrupt):
        daemon.run(sys.argv[1])
