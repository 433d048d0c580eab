"""The answer to the journal-creation-state command, and waiting for it to change.

Owns the arithmetic of fill and the choice of where each figure comes from:
pointers from the mapped page (cheap, always), mode and failure from the
volume server (asked at most twice a second), copy and restore from the worker.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Any, Final

from controller import plans
from controller.api.models import AcquisitionMode, Compression, Failure, JournalState, Position, Role, SuspendedCause
from controller.appliance import Appliance
from controller.clock import boot, steady_ns
from controller.errors import NotFoundError, PairvolError
from controller.groups.promote import mode_of
from controller.groups.suspension import read_map
from controller.journal import pointers
from controller.journal.layout import BLOCK_BYTES
from controller.journal.pointers import Pointer
from controller.state import GroupRecord
from controller.volume.dirty_file import MapState

POLL_SECONDS_MIN: Final = 0.002
POLL_SECONDS_MAX: Final = 0.2

_MOVES: Final = {Role.PRIMARY: Pointer.DURABLE, Role.FENCED: Pointer.DURABLE}  # others: already_read

_OF_THE_WORKER: Final = (
    "initial_copy",
    "consistent_sequence",
    "copy_order_active",
    "link_ok",
    "link_contact_ns",
    "link_silent_seconds",
    "checksum_errors",
    "failure",
    "waiting_epoch",
    "safe_point",
    "verify",
    "limit_bytes_per_second",
    "limit_holds_back",
    "compression",
    "transfer_bytes",
    "wire_bytes",
)


def journal_state(appliance: Appliance, name: str) -> JournalState:
    """Everything about a group's journal at one moment; a failure is told in it, not raised."""
    group = appliance.store.document.group(name)
    state: dict[str, Any] = {
        "group": name,
        "uuid": group.uuid,
        "role": group.role,
        "generation": group.generation,
        "time_ns": time.time_ns(),
        "steady_seconds": steady_ns() / 1e9,
        "boot": boot(),
        "mode": AcquisitionMode.DIRECT,
        "acquisition": group.acquisition and group.role in (Role.PRIMARY, Role.FENCED),
        "on_full": group.on_full,
        "compression": group.compression if plans.compresses(group, appliance.config) else Compression.NONE,
        "gap_sequence": group.gap_sequence,
        "volume_server": appliance.servers.state(plans.group_server(group)),
        "journal_server": appliance.servers.state(plans.journal_server(name)),
        "serving": plans.serves_volumes(group) and not appliance.permits.awaits(name),
        "awaits_serve": appliance.permits.awaits(name),
        "quiesced": group.quiesced,
        "yields_to": group.yields_to,
        "split": group.split,
        "orphans": len(group.orphans),
        "drills": len(group.drills),
        "volume_indices": [member.index for member in group.volumes],
        "driver": appliance.drivers.holder(name),
    }
    try:
        state |= _changes(appliance, group)
        state |= _journal(appliance, group)
        state |= _side(appliance, group)
    except PairvolError as error:
        empty = dict.fromkeys(("records_used", "records_capacity", "data_used_bytes", "data_capacity_bytes"), 0)
        state = {"pointers": {}, "fill_percent": 0.0, **empty, **state, "failure": failure_of(error)}
    return JournalState.model_validate(state)


async def wait_moved(appliance: Appliance, name: str, after: int, seconds: float) -> None:
    """Wait until the group's journal went beyond a sequence, at most `seconds`.

    Looks at the mapped page: at first every 2 ms, then ever more rarely. A
    change of the group ends the wait too, and so does another look of its
    driver: one thread of an agent waits here, and another has just heard
    something.
    """
    deadline = time.monotonic() + seconds
    pause = POLL_SECONDS_MIN
    known, looks = None, appliance.drivers.looks(name)
    while (left := deadline - time.monotonic()) > 0:
        try:
            group = appliance.store.document.group(name)
            if (known is not None and group != known) or appliance.drivers.looks(name) != looks:
                return
            known = group
            page = appliance.open_groups.get(group).page
            if page.read(_MOVES.get(group.role, Pointer.ALREADY_READ)).sequence > after:
                return
        except NotFoundError:
            return
        await asyncio.sleep(min(pause, left))
        pause = min(2 * pause, POLL_SECONDS_MAX)


def failure_of(error: PairvolError) -> Failure:
    return Failure(error=type(error).__name__, message=error.message, hint=error.hint, time_ns=time.time_ns())


def _journal(appliance: Appliance, group: GroupRecord) -> dict[str, Any]:
    files, role = appliance.open_groups.get(group), group.role
    page = files.page.read_all()
    first, last = Pointer.ALREADY_RESTORED, Pointer.ALREADY_READ
    if role in _MOVES:
        first, last = Pointer.JOURNAL_OUT, Pointer.JOURNAL_IN
    records = page[last].sequence - page[first].sequence
    blocks = page[last].data_position - page[first].data_position
    journal = files.journal
    # Pointers are read one after the other while they move: never less than nothing.
    records, blocks = max(0, records), max(0, blocks)
    fill = 100 * max(records / journal.slot_count, blocks / journal.data_blocks)
    state: dict[str, Any] = {
        "pointers": {str(pointer): _position(value) for pointer, value in page.items()},
        "journal_uuid": journal.header.journal_uuid,
        "records_used": records,
        "records_capacity": journal.slot_count,
        "data_used_bytes": blocks * BLOCK_BYTES,
        "data_capacity_bytes": journal.data_blocks * BLOCK_BYTES,
        "fill_percent": round(min(fill, 100.0), 3),
    }
    return state | (appliance.rates.note(group.uuid, page, state) if role is Role.PRIMARY else {})


def _changes(appliance: Appliance, group: GroupRecord) -> dict[str, Any]:
    """The set of changed regions, as its file says."""
    found = read_map(appliance, group)
    if found is None:
        return {}
    head = found.head
    return {
        "epoch": head.epoch,
        "dirty_bytes": found.dirty_bytes(),
        "suspended_cause": head.cause,
        "suspended_sequence": head.position.sequence,
        "covered_sequence": head.covered_sequence,
        "changes_final": head.state is MapState.RESYNC,
    }


def _suspended_by_order(appliance: Appliance, group: GroupRecord) -> bool:
    found = read_map(appliance, group)
    return found is not None and found.head.cause is SuspendedCause.OPERATOR


def _side(appliance: Appliance, group: GroupRecord) -> dict[str, Any]:
    if group.role is Role.SECONDARY:
        worker = appliance.workers.get(group)
        snapshot = worker.snapshot()
        return {key: getattr(snapshot, key) for key in _OF_THE_WORKER} | {"restore_end": worker.restore_end}
    if not plans.serves_volumes(group) or appliance.permits.awaits(group.name):
        return {"mode": mode_of(appliance, group)}
    server = plans.group_server(group)
    try:
        status = appliance.statuses.get(server)
    except PairvolError as error:
        mode = AcquisitionMode.JOURNAL if group.acquisition else AcquisitionMode.DIRECT
        words = appliance.servers.failure(server)
        message = {"message": f"volume server {server} is down: {words}"} if words else {}
        return {"mode": mode, "failure": failure_of(error).model_copy(update=message)}
    mode, failed = AcquisitionMode(status["mode"]), status.get("failure")
    if group.role is Role.PRIMARY:  # one that was taken over is suspended by intent
        ordered = partial(_suspended_by_order, appliance, group)
        appliance.modes.note(group.name, group.uuid, mode, failed or {}, ordered)
    return {"mode": mode, "failure": failed, "run": status.get("run") if group.role is Role.PRIMARY else None}


def _position(value: pointers.Position) -> Position:
    return Position(sequence=value.sequence, data_position=value.data_position, time_ns=value.time_ns)
