"""How a secondary can be taken over as it is now: a pure choice from what its worker says.

| volumes | journals here | way | needs force |
|---|---|---|---|
| consistent, or will be with what is here | restorable | restore them all | |
| consistent | some behind a marker "resumed" whose copy has not begun | restore up to it, drop the rest | yes |
| in the middle of a differential copy | | back to the safe point, drop what came after it | yes |
| hosts write to them (split) | | as they stand | yes |
| anything else | | refused | |
"""

from __future__ import annotations

from controller.api.models import SplitMode
from controller.copy.worker import SecondaryGroup
from controller.errors import ConflictError
from controller.journal.pointers import Pointer
from controller.state import GroupRecord, Way
from controller.units import counted


def choose(worker: SecondaryGroup, group: GroupRecord, *, force: bool) -> Way:
    """The way, or ConflictError that names what hinders it and what to type next."""
    snapshot = worker.snapshot()
    read = snapshot.pointers[str(Pointer.ALREADY_READ)].sequence
    if snapshot.split is SplitMode.WRITE:
        _need_force(force, group, "hosts write to its volumes, which are split", "take them as they are")
        return Way.STAND
    consistent = snapshot.consistent_sequence
    if consistent is not None and read >= consistent:
        return Way.FORCED if force else Way.RESTORE
    point = snapshot.safe_point
    if point.open:
        dropped = max(0, read - point.sequence)
        _need_force(
            force,
            group,
            f"a resync is under way ({snapshot.initial_copy.state})",
            f"go back to its safe point at journal {point.sequence} and drop {counted(dropped, 'journal')}",
            sequence=point.sequence,
            time_ns=point.time_ns,
            journals=dropped,
        )
        return Way.SAFE_POINT
    if consistent is None:
        raise ConflictError(
            f"cannot take over {group.name}: its initial copy is not complete ({snapshot.initial_copy.state})",
            hint="Let the copy end; or delete the pair with --force to get at the volume as it is.",
            group=group.name,
            bytes_done=snapshot.initial_copy.bytes_done,
            bytes_total=snapshot.initial_copy.bytes_total,
        )
    raise ConflictError(
        f"cannot take over {group.name}: its volumes are consistent from journal {consistent} on,"
        f" journals are here up to {read}",
        hint="Let the journal copy go on; or delete the pair with --force to get at the volume as it is.",
        group=group.name,
        already_read=read,
        consistent_sequence=consistent,
    )


def _need_force(force: bool, group: GroupRecord, why: str, what: str, **facts: object) -> None:
    if not force:
        raise ConflictError(
            f"cannot take over {group.name}: {why}",
            hint=f"Wait until that is over; or add --force to {what}.",
            group=group.name,
            **facts,
        )
