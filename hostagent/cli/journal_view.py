"""How journals are shown: both sides' fill, rate and lag, then every pointer.

Owns the figures worked out of two looks at the same journals, and their text.
"""

from __future__ import annotations

from typing import Any, Final

from controller.api.models import JournalState, Position
from controller.units import format_duration, format_size
from hostagent.api.models import JournalSides
from hostagent.cli.output import NONE, clock_tenths, count, percent, table

BLOCK_BYTES: Final = 512
PRIMARY_POINTERS: Final = ("journal_in", "durable", "checkpoint", "confirmed", "journal_out")
SECONDARY_POINTERS: Final = ("read_scheduled", "already_read", "restore_scheduled", "already_restored")
RATE_POINTERS: Final = {"primary": "journal_in", "secondary": "already_read"}


def journal_report(group: str, earlier: JournalSides, later: JournalSides) -> dict[str, Any]:
    """Both sides as the agents report them, with `rate_bytes_per_second`, and the lag between them."""
    report: dict[str, Any] = {"group": group}
    for side in ("primary", "secondary"):
        state: JournalState | None = getattr(later, side)
        if state is None:
            report[side] = None
            continue
        facts = state.model_dump(mode="json")
        facts["rate_bytes_per_second"] = _rate(getattr(earlier, side), state, RATE_POINTERS[side])
        report[side] = facts
    report["lag_seconds"], report["lag_bytes"] = _lag(later)
    return report


def _rate(earlier: JournalState | None, later: JournalState, pointer: str) -> float | None:
    """Journal bytes a second that passed `pointer` between two looks."""
    if earlier is None or later.time_ns <= earlier.time_ns:
        return None
    blocks = _at(later, pointer).data_position - _at(earlier, pointer).data_position
    return max(0, blocks) * BLOCK_BYTES / ((later.time_ns - earlier.time_ns) / 1e9)


def _lag(sides: JournalSides) -> tuple[float | None, int | None]:
    """How far the SVOL is behind what is durable at the primary."""
    if sides.primary is None or sides.secondary is None:
        return None, None
    durable, restored = _at(sides.primary, "durable"), _at(sides.secondary, "already_restored")
    if restored.sequence >= durable.sequence:
        return 0.0, 0
    seconds = (durable.time_ns - restored.time_ns) / 1e9 if restored.time_ns else None
    return seconds, (durable.data_position - restored.data_position) * BLOCK_BYTES


def _at(state: JournalState, pointer: str) -> Position:
    return state.pointers.get(pointer, Position())


def journal_text(report: dict[str, Any]) -> str:
    """Two tables: the journals, and the pointers in the order in which a journal passes them."""
    journals, pointers = [], []
    for side, label, names in (
        ("primary", "P-VOL", PRIMARY_POINTERS),
        ("secondary", "S-VOL", SECONDARY_POINTERS),
    ):
        state = report[side]
        if state is None:
            journals.append((report["group"], label, "unknown", *[NONE] * 5))
            continue
        journals.append((report["group"], label, *_journal_cells(side, state, report)))
        pointers += [_pointer_row(label, name, state["pointers"][name]) for name in names if name in state["pointers"]]
    first = table(
        ("GROUP", "SIDE", "MODE", "RECORDS", "DATA", "FILL", "RATE", "LAG"), journals, right=("RECORDS", "FILL")
    )
    if not pointers:
        return first
    second = table(("POINTER", "SIDE", "SEQ", "BLOCK", "TIME"), pointers, right=("SEQ", "BLOCK"))
    failures = [
        f"FAILED {report[side]['failure']['message']}"
        for side in ("primary", "secondary")
        if report[side] and report[side]["failure"]
    ]
    return "\n".join([*failures, first, "", second])


def _journal_cells(side: str, state: dict[str, Any], report: dict[str, Any]) -> tuple[str, ...]:
    mode = state["mode"] if side == "primary" else ("copying" if state["copy_order_active"] else "idle")
    rate, lag, limit = state["rate_bytes_per_second"], report["lag_seconds"], state["limit_bytes_per_second"]
    most = f" of at most {format_size(limit)}/s" if limit else ""
    return (
        mode,
        count(state["records_used"]),
        f"{format_size(state['data_used_bytes'])} of {format_size(state['data_capacity_bytes'])}",
        percent(state["fill_percent"]),
        NONE if rate is None else f"{format_size(rate)}/s{most}",
        NONE if side == "primary" or lag is None else f"{format_duration(lag)} ({format_size(report['lag_bytes'])})",
    )


def _pointer_row(label: str, name: str, position: dict[str, int]) -> tuple[str, ...]:
    return (
        name.replace("_", "-"),
        label,
        count(position["sequence"]),
        count(position["data_position"]),
        clock_tenths(position["time_ns"]),
    )
