"""How far the initial copy of a group is, and from which journal on its SVOL is a prefix of the PVOL: durably.

Owns one small document. Everything in it is true after a power cut, because it
is written only after the sync of what it speaks of.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from controller.api.models import CopyState, InitialCopyMethod, InitialCopyOrder
from controller.durable import read_json, write_json
from controller.errors import IntegrityError, NotFoundError


@dataclass(frozen=True, slots=True)
class Progress:
    """`bytes_done` counts through all areas of the copy in order (controller/copy/areas.py), as if they were one.

    A differential order that is `pending` has not begun: everything else still
    speaks of the copy before it. `covers`: the newest marker "resumed" that a
    copy, begun, makes up for. `own_epoch`: of the own dirty map that the order
    takes in. `run`: the primary's in-band run that brings the volumes over; it
    is passed so far, and ended at a sequence. A differential copy beside it is
    right from `part_sequence` on when it is done first. `whole_sequence`: where
    the last copy of whole volumes ended; what was found different before is void.
    `skips`: a whole copy has read its first byte after these journals, and
    stands for all of them.
    """

    state: CopyState = CopyState.NONE
    order: InitialCopyOrder | None = None
    bytes_done: int = 0
    bytes_copied: int = 0
    consistent_sequence: int | None = None
    pending: InitialCopyOrder | None = None
    covers: int = 0
    own_epoch: str | None = None
    run: str | None = None
    run_bytes: int = 0
    run_sequence: int | None = None
    part_sequence: int | None = None
    whole_sequence: int = 0
    skips: int = 0

    @property
    def method(self) -> InitialCopyMethod:
        return self.order.method if self.order is not None else InitialCopyMethod.DIRECT

    def begin(self, order: InitialCopyOrder) -> Progress:
        """A copy from the beginning: until it ends, the SVOL is a prefix of nothing.

        One by journals gives its run a name that never was: whatever run bears it, began after this.
        """
        base = order.method is InitialCopyMethod.BASE
        return Progress(state=CopyState.RUNNING, order=order, run=f"initial-{uuid.uuid4()}" if base else None)

    @property
    def waits_for_run(self) -> bool:
        return self.state is CopyState.RUNNING and self.run is not None and self.run_sequence is None

    @property
    def copies(self) -> bool:
        """Whether there is something to read from the primary's volumes."""
        own = self.method is not InitialCopyMethod.BASE and self.part_sequence is None
        return self.state is CopyState.RUNNING and own

    def moved(self, bytes_done: int, bytes_copied: int) -> Progress:
        return replace(self, bytes_done=bytes_done, bytes_copied=bytes_copied)

    def covering(self, sequence: int) -> Progress:
        return replace(self, covers=max(self.covers, sequence))

    def skipping(self, sequence: int) -> Progress:
        return replace(self, skips=max(self.skips, sequence))

    def complete(self, consistent_sequence: int) -> Progress:
        """What was read from the primary's volumes is all here."""
        if self.run is None:
            whole = self.whole_sequence if self.method is InitialCopyMethod.DIFFERENTIAL else consistent_sequence
            done = CopyState.DONE
            return replace(self, state=done, consistent_sequence=consistent_sequence, whole_sequence=whole)
        return replace(self, part_sequence=consistent_sequence).joined()

    def passed(self, bytes_done: int, ended: int | None) -> Progress:
        """Restore came past so much of the run."""
        return replace(self, run_bytes=bytes_done, run_sequence=ended).joined()

    def joined(self) -> Progress:
        """Done when both the run and the copy beside it are."""
        if self.state is not CopyState.RUNNING or self.run_sequence is None or self.copies:
            return self
        end = max(self.run_sequence, self.part_sequence or 0)
        return replace(self, state=CopyState.DONE, consistent_sequence=end, whole_sequence=end)

    def same_source(self, order: InitialCopyOrder) -> bool:
        """Whether an order is for the very copy that this is about.

        A differential copy goes on from the one before it, so an order for a
        whole copy of that source asks for nothing more.
        """
        if self.order is None or _source_key(self.order) != _source_key(order):
            return False
        if self.order.method is InitialCopyMethod.DIFFERENTIAL and order.method is not InitialCopyMethod.DIFFERENTIAL:
            return True
        return _set_key(self.order) == _set_key(order)

    def same_pending(self, order: InitialCopyOrder) -> bool:
        """Whether an order is for the differential copy that waits to begin."""
        pending = self.pending
        return pending is not None and (_source_key(pending), _set_key(pending)) == (
            _source_key(order),
            _set_key(order),
        )


def _source_key(order: InitialCopyOrder) -> tuple[object, ...]:
    """Not the journal volume: its records may move to another one while the volumes stay what they are."""
    source = order.source
    return source.uuid, source.generation, order.gap_sequence


def _set_key(order: InitialCopyOrder) -> tuple[object, ...]:
    return order.method, order.regions.epoch if order.regions is not None else None


def load(path: str | Path) -> Progress:
    """The stored progress; that of a new group when there is none yet."""
    try:
        document: dict[str, Any] = read_json(path)
    except NotFoundError:
        return Progress()
    try:
        order, pending = document["order"], document.get("pending")
        return Progress(
            state=CopyState(document["state"]),
            order=None if order is None else InitialCopyOrder.model_validate(order),
            bytes_done=document["bytes_done"],
            bytes_copied=document["bytes_copied"],
            consistent_sequence=document["consistent_sequence"],
            pending=None if pending is None else InitialCopyOrder.model_validate(pending),
            covers=document.get("covers", 0),
            own_epoch=document.get("own_epoch"),
            run=document.get("run"),
            run_bytes=document.get("run_bytes", 0),
            run_sequence=document.get("run_sequence"),
            part_sequence=document.get("part_sequence"),
            whole_sequence=document.get("whole_sequence", 0),
            skips=document.get("skips", 0),
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
            "pending": None if progress.pending is None else progress.pending.model_dump(mode="json"),
            "covers": progress.covers,
            "own_epoch": progress.own_epoch,
            "run": progress.run,
            "run_bytes": progress.run_bytes,
            "run_sequence": progress.run_sequence,
            "part_sequence": progress.part_sequence,
            "whole_sequence": progress.whole_sequence,
            "skips": progress.skips,
        },
    )
