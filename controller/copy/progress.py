"""How far the initial copy of a group is, and from which journal on its SVOL is a prefix of the PVOL: durably.

Owns one small document. Everything in it is true after a power cut, because it
is written only after the sync of what it speaks of.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from controller.api.models import CopyState, InitialCopyOrder
from controller.durable import read_json, write_json
from controller.errors import IntegrityError, NotFoundError


@dataclass(frozen=True, slots=True)
class Progress:
    """`bytes_done` counts through all volumes in order of their index, as if they were one."""

    state: CopyState = CopyState.NONE
    order: InitialCopyOrder | None = None
    bytes_done: int = 0
    bytes_copied: int = 0
    consistent_sequence: int | None = None

    def begin(self, order: InitialCopyOrder) -> Progress:
        """A copy from the beginning: until it ends, the SVOL is a prefix of nothing."""
        return Progress(state=CopyState.RUNNING, order=order)

    def moved(self, bytes_done: int, bytes_copied: int) -> Progress:
        return replace(self, bytes_done=bytes_done, bytes_copied=bytes_copied)

    def complete(self, consistent_sequence: int) -> Progress:
        return replace(self, state=CopyState.DONE, consistent_sequence=consistent_sequence)

    def same_source(self, order: InitialCopyOrder) -> bool:
        """Whether an order is for the very copy that this is about."""
        if self.order is None:
            return False
        mine, theirs = self.order.source, order.source
        return (
            mine.uuid,
            mine.generation,
            mine.composition.journal_uuid,
            self.order.method,
            self.order.gap_sequence,
        ) == (
            theirs.uuid,
            theirs.generation,
            theirs.composition.journal_uuid,
            order.method,
            order.gap_sequence,
        )


def load(path: str | Path) -> Progress:
    """The stored progress; that of a new group when there is none yet."""
    try:
        document: dict[str, Any] = read_json(path)
    except NotFoundError:
        return Progress()
    try:
        order = document["order"]
        return Progress(
            state=CopyState(document["state"]),
            order=None if order is None else InitialCopyOrder.model_validate(order),
            bytes_done=document["bytes_done"],
            bytes_copied=document["bytes_copied"],
            consistent_sequence=document["consistent_sequence"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(
            f"progress of the initial copy in {path} cannot be read: {error!r}",
            hint="Put a copy of that file back, or remove it and order the initial copy again.",
            path=str(path),
        ) from error


def store(path: str | Path, progress: Progress) -> None:
    """Durable when this returns."""
    write_json(
        path,
        {
            "state": str(progress.state),
            "order": None if progress.order is None else progress.order.model_dump(mode="json"),
            "bytes_done": progress.bytes_done,
            "bytes_copied": progress.bytes_copied,
            "consistent_sequence": progress.consistent_sequence,
        },
    )
