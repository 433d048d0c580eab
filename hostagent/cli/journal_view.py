"""How journals are shown: both sides' fill, forecast, rate and lag, then every pointer.

Owns the rates worked out of two looks at the same journals, and the text. What
lag is, who is unknown and when a journal will be full is said as `pair status` says it.
"""

from __future__ import annotations

from typing import Any, Final

from controller.api.models import JournalState, Position
from controller.units import format_duration, format_size
from hostagent.api.models import JournalSides, PairStatus
from hostagent.cli.output import NONE, clock_tenths, count, percent, table, unknown

BLOCK_BYTES: Final = 512
HEAD: Final = ("GROUP", "SIDE", "MODE", "RECORDS", "DATA", "FILL", "FULL IN", "RATE", "LAG")
PRIMARY_POINTERS: Final = ("journal_in", "durable", "checkpoint", "confirmed", "journal_out")
SECONDARY_POINTERS: Final = ("read_scheduled", "already_read", "restore_scheduled", "already_restored")
RATE_POINTERS: Final = {"primary": "journal_in", "secondary": "already_read"}


def journal_report(status: PairStatus, earlier: JournalSides, later: JournalSides) -> dict[str, Any]:
    """Both sides as the agents report them, with `rate_bytes_per_second`, and what the pair's status says of them."""
    report: dict[str, Any] = {
        "group": status.group,
        "lag_seconds": status.lag_seconds,
        "lag_bytes": status.lag_bytes,
        "seconds_to_full": status.seconds_to_full,
    }
    for side, end in zip(("primary", "secondary"), status.sides, strict=True):
        report[f"{side}_unknown_since_ns"] = end.unknown_since_ns
        state: JournalState | None = getattr(later, side)
        if state is None:
            report[side] = None
            continue
        facts = state.model_dump(mode="json")
        facts["rate_bytes_per_second"] = _rate(getattr(earlier, side), state, RATE_POINTERS[side])
        report[side] = facts
    return report


def _rate(earlier: JournalState | None, later: JournalState, pointer: str) -> float | None:
    """Journal bytes a second that passed `pointer` between two looks."""
    if earlier is None or later.time_ns <= earlier.time_ns:
        return None
    blocks = _at(later, pointer).data_position - _at(earlier, pointer).data_position
    return max(0, blocks) * BLOCK_BYTES / ((later.time_ns - earlier.time_ns) / 1e9)


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
            since = unknown(report[f"{side}_unknown_since_ns"])
            journals.append((report["group"], label, since, *[NONE] * (len(HEAD) - 3)))
            continue
        journals.append((report["group"], label, *_journal_cells(side, state, report)))
        pointers += [_pointer_row(label, name, state["pointers"][name]) for name in names if name in state["pointers"]]
    first = table(HEAD, journals, right=("RECORDS", "FILL", "FULL IN"))
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
    full = report["seconds_to_full"] if side == "primary" else None
    most = f" of at most {format_size(limit)}/s" if limit else ""
    return (
        mode,
        count(state["records_used"]),
        f"{format_size(state['data_used_bytes'])} of {format_size(state['data_capacity_bytes'])}",
        percent(state["fill_percent"]),
        NONE if full is None else format_duration(full),
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
