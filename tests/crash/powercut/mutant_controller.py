"""The storage controller with one mutant applied, named by PAIRVOL_MUTANT: python -m ... CONFIG

Each takes away one guarantee that a takeover or a secondary stands on. The
product knows nothing of them.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from controller import daemon, durable, plans, serving
from controller.api.models import Role
from controller.groups import standing, takeover
from controller.journal.volume import JournalVolume
from controller.restore import safepoint

HESITATION_SECONDS = 0.2


def _replace(path: Any, content: bytes) -> Path:
    target = Path(path)
    temporary = target.with_name(f".{target.name}.new")
    temporary.write_bytes(content)
    os.rename(temporary, target)
    return target


def state_without_sync() -> None:
    """Documents are replaced, and neither their content nor their names are made durable."""
    setattr(durable, "replace", lambda path, content: os.open(_replace(path, content), os.O_RDWR))  # noqa: B010


def state_without_sync_of_content() -> None:
    """The name of a document is durable before what is in it."""

    def replace(path: Any, content: bytes) -> int:
        target = _replace(path, content)
        durable.sync_directory(target.parent)
        return os.open(target, os.O_RDWR)

    setattr(durable, "replace", replace)  # noqa: B010


def safe_point_without_sync() -> None:
    """What a resync overwrites is saved, but not durably before it is overwritten."""
    lenient = SimpleNamespace(**vars(os))
    lenient.fdatasync = lambda descriptor: None
    setattr(safepoint, "os", lenient)  # noqa: B010


def confirmed_before_sync() -> None:
    """A secondary says that it has journals which are only in its page cache."""
    setattr(JournalVolume, "sync", lambda self: None)  # noqa: B010


def served_before_generation() -> None:
    """After a takeover hosts are served a little before the state says so."""
    kept = standing.make

    def make(appliance: Any, group: Any, generation: int, way: Any) -> None:
        kept(appliance, group, generation, way)
        early = group.model_copy(update={"role": Role.TAKEN_OVER, "generation": generation})
        server = plans.group_server(group)
        document = plans.group_document(early, appliance.store.document, appliance.config, appliance.paths)
        serving.serve(appliance, server, document)
        serving.wait_served(appliance, server)
        threading.Event().wait(HESITATION_SECONDS)

    setattr(takeover, "standing", SimpleNamespace(make=make, head_of=standing.head_of))  # noqa: B010


MUTANTS: dict[str, Callable[[], None]] = {
    "state without sync": state_without_sync,
    "state without sync of its content": state_without_sync_of_content,
    "safe point without sync": safe_point_without_sync,
    "confirmed before sync": confirmed_before_sync,
    "served before the generation is durable": served_before_generation,
}

if __name__ == "__main__":
    MUTANTS[os.environ["PAIRVOL_MUTANT"]]()
    with suppress(KeyboardInterrupt):
        daemon.run(sys.argv[1])
