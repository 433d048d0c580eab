"""The figures and the table of `pairvol top`, worked out of two looks at every pair.

Owns rates between two looks and the text. Must not ask anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from controller.api.models import CopyState, JournalState, Position
from controller.journal.pointers import Pointer
from controller.journal.sizes import BLOCK_BYTES
from controller.units import counted, format_duration, format_size
from hostagent.api.models import JournalSides, PairStatus, Verdict
from hostagent.cli.output import NONE, coloured, count, percent, table

HEAD: Final = (
    "GROUP",
    "VERDICT",
    "STATE",
    "FROM",
    "TO",
    "IN/s",
    "WRITTEN",
    "COPIED",
    "RESTORED",
    "LAG",
    "BEHIND",
    "FILL",
    "FULL IN",
    "COPY",
)
RIGHT: Final = ("IN/s", "WRITTEN", "COPIED", "RESTORED", "LAG", "BEHIND", "FILL", "FULL IN")
NANOSECONDS: Final = 1_000_000_000


@dataclass(frozen=True)
class Look:
    """What is known of one pair at a moment; the journals of a side that does not answer are None."""

    status: PairStatus
    journals: JournalSides


def row(earlier: Look | None, later: Look) -> dict[str, Any]:
    """The figures of one pair; keys are only ever added, None is what is not known."""
    status, primary, secondary = later.status, later.journals.primary, later.journals.secondary
    before_primary = earlier.journals.primary if earlier else None
    before = earlier.journals.secondary if earlier else None
    left, right = status.sides[0], status.sides[1]
    return {
        "group": status.group,
        "verdict": status.verdict.value,
        "state": status.state.value,
        "line": status.line,
        "next_command": status.next_command,
        "primary": left.site,
        "secondary": right.site,
        "written_journals_per_second": _journals(before_primary, primary, Pointer.JOURNAL_IN),
        "written_bytes_per_second": _bytes(before_primary, primary, Pointer.JOURNAL_IN),
        "copied_bytes_per_second": _bytes(before, secondary, Pointer.ALREADY_READ),
        "restored_bytes_per_second": _bytes(before, secondary, Pointer.ALREADY_RESTORED),
        "lag_seconds": status.lag_seconds,
        "lag_bytes": status.lag_bytes,
        "fill_percent": left.journal_percent,
        "secondary_fill_percent": right.journal_percent,
        "seconds_to_full": status.seconds_to_full,
        "copy_percent": right.copy_percent,
        "copy_seconds_left": _copy_left(before, secondary),
        "drills": secondary.drills if secondary else None,
    }


def rows(earlier: dict[str, Look], later: dict[str, Look]) -> list[dict[str, Any]]:
    """The worst first, then by name."""
    found = [row(earlier.get(group), look) for group, look in later.items()]
    order = {verdict.value: place for place, verdict in enumerate(reversed(Verdict))}
    return sorted(found, key=lambda each: (order[each["verdict"]], each["group"]))


def top_text(figures: Sequence[dict[str, Any]]) -> str:
    """A summary, the first line of each pair that is not OK, and the table."""
    if not figures:
        return "no pairs"
    verdicts = [each["verdict"] for each in figures]
    numbers = ", ".join(f"{verdicts.count(word)} {coloured(word)}" for word in Verdict if word in verdicts)
    lines = [f"{counted(len(figures), 'pair')}: {numbers}"]
    lines += [_alarm(each) for each in figures if each["verdict"] != Verdict.OK]
    return "\n".join([*lines, table(HEAD, [_cells(each) for each in figures], RIGHT)])


def _alarm(each: dict[str, Any]) -> str:
    command = each["next_command"]
    tail = f"; next: {command}" if command and command not in each["line"] else ""
    return f"{coloured(each['verdict'])}  {each['line']}{tail}"


def _cells(each: dict[str, Any]) -> tuple[str, ...]:
    return (
        each["group"],
        coloured(each["verdict"]),
        each["state"],
        each["primary"],
        each["secondary"],
        NONE if each["written_journals_per_second"] is None else count(round(each["written_journals_per_second"])),
        _rate(each["written_bytes_per_second"]),
        _rate(each["copied_bytes_per_second"]),
        _rate(each["restored_bytes_per_second"]),
        NONE if each["lag_seconds"] is None else format_duration(each["lag_seconds"]),
        NONE if each["lag_bytes"] is None else format_size(each["lag_bytes"]),
        percent(each["fill_percent"]),
        NONE if each["seconds_to_full"] is None else format_duration(each["seconds_to_full"]),
        _copy(each),
    )


def _copy(each: dict[str, Any]) -> str:
    text = percent(each["copy_percent"])
    left = each["copy_seconds_left"]
    return text if left is None else f"{text}, {format_duration(left)} left"


def _rate(value: float | None) -> str:
    return NONE if value is None else f"{format_size(value)}/s"


def _journals(earlier: JournalState | None, later: JournalState | None, pointer: Pointer) -> float | None:
    return _per_second(earlier, later, lambda state: _at(state, pointer).sequence)


def _bytes(earlier: JournalState | None, later: JournalState | None, pointer: Pointer) -> float | None:
    return _per_second(earlier, later, lambda state: _at(state, pointer).data_position * BLOCK_BYTES)


def _copy_left(earlier: JournalState | None, later: JournalState | None) -> float | None:
    """Of an initial copy or a resync, at the rate between the two looks."""
    if later is None or later.initial_copy.state is not CopyState.RUNNING:
        return None
    rate = _per_second(earlier, later, lambda state: state.initial_copy.bytes_done)
    rest = later.initial_copy.bytes_total - later.initial_copy.bytes_done
    return round(rest / rate, 1) if rate else None


def _per_second(
    earlier: JournalState | None, later: JournalState | None, value: Callable[[JournalState], int]
) -> float | None:
    """None while one side was not asked twice; another role or pair in between is no rate."""
    if earlier is None or later is None or (earlier.uuid, earlier.role) != (later.uuid, later.role):
        return None
    seconds = (later.time_ns - earlier.time_ns) / NANOSECONDS
    if seconds <= 0:
        return None
    return round(max(0.0, (value(later) - value(earlier)) / seconds), 1)


def _at(state: JournalState, pointer: Pointer) -> Position:
    return state.pointers.get(pointer.value, Position())
