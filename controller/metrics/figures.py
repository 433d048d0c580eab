"""The metrics of a storage controller: names, help and where each comes from.

Owns the names, which alerts and dashboards rely on: they are only ever added.
Base units, `_total` for what only grows. Reads nothing itself
(controller/metrics/collector.py does).
"""

from __future__ import annotations

from typing import Final

from controller.api.drills import Drill
from controller.api.models import CopyState, JournalState, Role, ServerState
from controller.journal.layout import BLOCK_BYTES
from controller.journal.pointers import Pointer
from controller.keeper import Keeper
from controller.metrics.page import Figure, ProcessFigures, seconds_of

GROUP_LABELS: Final = ("group", "role")
SERVER_LABELS: Final = ("server",)
DRILL_LABELS: Final = ("group",)

GROUPS: Final[tuple[Figure[JournalState], ...]] = (
    Figure("pairvol_group_generation", "Generation of the group.", lambda state: state.generation),
    Figure("pairvol_group_failed", "1 while the group names a failure.", lambda state: state.failure is not None),
    Figure("pairvol_group_serving", "1 while hosts are served from its volumes.", lambda state: state.serving),
    Figure(
        "pairvol_group_journaling",
        "1 while host writes go to the journal; primaries only.",
        lambda state: state.mode == "journal" if state.role is Role.PRIMARY else None,
    ),
    Figure(
        "pairvol_group_changed_bytes",
        "Bytes in regions that changed here in no journal, and are not at the other site.",
        lambda state: state.dirty_bytes,
    ),
    Figure("pairvol_group_orphan_tails", "Kept tails of journals from lives as primary.", lambda state: state.orphans),
    Figure("pairvol_group_drills_open", "Open drills: restore waits for their end.", lambda state: state.drills),
    Figure(
        "pairvol_group_safe_point_bytes",
        "Bytes saved for the way back while a resync overwrites the volumes.",
        lambda state: state.safe_point.bytes if state.safe_point.open else 0,
    ),
    Figure("pairvol_journal_fill_ratio", "How full the journal is.", lambda state: state.fill_percent / 100),
    Figure("pairvol_journal_used_bytes", "Journal data in use.", lambda state: state.data_used_bytes),
    Figure("pairvol_journal_capacity_bytes", "Journal data that fits.", lambda state: state.data_capacity_bytes),
    Figure("pairvol_journal_used_records", "Journals in use.", lambda state: state.records_used),
    Figure("pairvol_journal_capacity_records", "Journals that fit.", lambda state: state.records_capacity),
    Figure(
        "pairvol_journal_full_in_seconds",
        "When the journal will be full at the present rate; absent while it does not fill.",
        lambda state: state.seconds_to_full,
    ),
    Figure(
        "pairvol_journal_append_records_per_second",
        "Journals written, average of some ten seconds.",
        lambda state: state.append_records_per_second if state.role is Role.PRIMARY else None,
    ),
    Figure(
        "pairvol_journal_append_bytes_per_second",
        "Journal data written, average of some ten seconds.",
        lambda state: state.append_bytes_per_second if state.role is Role.PRIMARY else None,
    ),
    *(
        figure
        for pointer, name, verb in (
            (Pointer.JOURNAL_IN, "journal_appended", "written by the primary"),
            (Pointer.JOURNAL_OUT, "journal_purged", "purged by the primary"),
            (Pointer.ALREADY_READ, "journal_copied", "copied to the secondary"),
            (Pointer.ALREADY_RESTORED, "journal_restored", "restored by the secondary"),
        )
        for figure in (
            Figure[JournalState](
                f"pairvol_{name}_records_total",
                f"Journals {verb} since the group began.",
                lambda state, pointer=pointer: _sequence(state, pointer),  # type: ignore[misc]
            ),
            Figure[JournalState](
                f"pairvol_{name}_bytes_total",
                f"Journal data {verb} since the group began.",
                lambda state, pointer=pointer: _bytes(state, pointer),  # type: ignore[misc]
            ),
        )
    ),
    Figure(
        "pairvol_copy_checksum_errors_total",
        "Reads of journals that failed verification and were made again.",
        lambda state: state.checksum_errors if state.role is Role.SECONDARY else None,
    ),
    Figure(
        "pairvol_transfer_bytes_total",
        "Read from the other site since this controller took up the group.",
        lambda state: state.transfer_bytes if state.role is Role.SECONDARY else None,
    ),
    Figure(
        "pairvol_transfer_wire_bytes_total",
        "What crossed the wire for that: less when the link is compressed.",
        lambda state: state.wire_bytes if state.role is Role.SECONDARY else None,
    ),
    Figure(
        "pairvol_copy_order_active",
        "1 while journals are copied by order.",
        lambda state: state.copy_order_active if state.role is Role.SECONDARY else None,
    ),
    Figure(
        "pairvol_link_up",
        "1 while the data link works, 0 after a read failed; absent until it was used.",
        lambda state: state.link_ok,
    ),
    Figure(
        "pairvol_link_last_contact_timestamp_seconds",
        "Last good read over the data link.",
        lambda state: seconds_of(state.link_contact_ns),
    ),
    Figure(
        "pairvol_initial_copy_ratio",
        "How much of the volumes is copied; secondaries only.",
        lambda state: _copied(state) if state.role is Role.SECONDARY else None,
    ),
    Figure(
        "pairvol_verify_different_bytes",
        "What the last verify found different at the secondary and is not repaired; absent before the first.",
        lambda state: state.verify.different_bytes if state.verify else None,
    ),
    Figure(
        "pairvol_verify_repaired_bytes",
        "What the last verify found different and repaired.",
        lambda state: state.verify.repaired_bytes if state.verify else None,
    ),
    Figure(
        "pairvol_initial_copy_failed",
        "1 after an initial copy or a resync failed.",
        lambda state: state.initial_copy.state is CopyState.FAILED if state.role is Role.SECONDARY else None,
    ),
)

SERVERS: Final[tuple[Figure[tuple[Keeper, ProcessFigures | None]], ...]] = (
    Figure("pairvol_server_up", "1 while this server runs.", lambda it: it[0].state is ServerState.RUNNING),
    Figure(
        "pairvol_server_resident_memory_bytes",
        "Resident memory of this server.",
        lambda it: it[1].resident_bytes if it[1] else None,
    ),
    Figure(
        "pairvol_server_cpu_seconds_total",
        "Processor time that this server has used.",
        lambda it: it[1].cpu_seconds if it[1] else None,
    ),
    Figure("pairvol_server_threads", "Threads of this server.", lambda it: it[1].threads if it[1] else None),
    Figure("pairvol_server_start_time_seconds", "When this server began.", lambda it: it[1].since if it[1] else None),
)

DRILLS: Final[tuple[Figure[Drill], ...]] = (
    Figure(
        "pairvol_drill_last_start_timestamp_seconds",
        "When the newest drill began.",
        lambda drill: seconds_of(drill.started_ns),
    ),
    Figure(
        "pairvol_drill_last_ready_seconds",
        "How long it took until its images could be used.",
        lambda drill: drill.ready_seconds,
    ),
    Figure("pairvol_drill_last_lag_seconds", "Lag at the start of the newest drill.", lambda drill: drill.lag_seconds),
    Figure(
        "pairvol_drill_last_check_passed",
        "1 when the check of the newest drill passed, 0 when it failed; absent without one.",
        lambda drill: drill.check.passed if drill.check else None,
    ),
    Figure(
        "pairvol_drill_last_check_seconds",
        "How long that check took.",
        lambda drill: drill.check.seconds if drill.check else None,
    ),
)


def _sequence(state: JournalState, pointer: Pointer) -> float | None:
    found = state.pointers.get(pointer.value) if _owns(state, pointer) else None
    return found.sequence if found else None


def _bytes(state: JournalState, pointer: Pointer) -> float | None:
    found = state.pointers.get(pointer.value) if _owns(state, pointer) else None
    return found.data_position * BLOCK_BYTES if found else None


def _owns(state: JournalState, pointer: Pointer) -> bool:
    """A side tells of the pointers that it moves: the page has room for all."""
    return (pointer in (Pointer.JOURNAL_IN, Pointer.JOURNAL_OUT)) is not (state.role is Role.SECONDARY)


def _copied(state: JournalState) -> float | None:
    copy = state.initial_copy
    if copy.state is CopyState.DONE:
        return 1.0
    return copy.bytes_done / copy.bytes_total if copy.bytes_total else 0.0
