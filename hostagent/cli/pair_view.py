"""How pairs are shown: verdict first, both ends on adjacent lines.

Owns text only; what is said about a pair is decided by the agent.
"""

from __future__ import annotations

from collections.abc import Sequence

from controller.api.models import Compression
from controller.units import format_duration, format_size
from hostagent.api.models import Pair, PairSide, PairStatus, TakeoverReport, Verdict
from hostagent.cli.output import NONE, clock_tenths, count, counted, percent, table, unknown, verdict

HEAD = ("GROUP", "SIDE", "SITE", "VOLUMES", "STATE", "SEQ", "JOURNAL", "COPY", "LAG")
RIGHT = ("SEQ",)
NO_PAIRS = "no pairs: nothing is protected here; next: pairvol pair create"


def status_text(statuses: Sequence[PairStatus]) -> str:
    """The verdict of each pair, the worst first, so that the first line is that of all; then one table of all ends."""
    if not statuses:
        return verdict(Verdict.WARN, NO_PAIRS)
    statuses = sorted(statuses, key=lambda status: (-list(Verdict).index(status.verdict), status.group))
    lines = [first_line(status) for status in statuses]
    lines += [
        f"      {status.group} transfers at most {format_size(status.limit_bytes_per_second)}/s"
        for status in statuses
        if status.limit_bytes_per_second
    ]
    lines += [line for status in statuses if (line := compression_line(status))]
    rows = [side_row(status, side) for status in statuses for side in status.sides]
    return "\n".join([*lines, table(HEAD, rows, RIGHT)])


def compression_line(status: PairStatus) -> str:
    """How the transfer is compressed; empty when it is not to be."""
    if status.compression is Compression.NONE:
        return ""
    if status.compression_now is None:
        return f"      {status.group} is to transfer with {status.compression}"
    line = f"      {status.group} transfers with {status.compression}"
    if status.compression_now is Compression.NONE:
        return f"{line}; not at this moment"
    if status.transfer_bytes and status.wire_bytes:
        line += f": {format_size(status.transfer_bytes)} as {format_size(status.wire_bytes)} on the wire"
    return line


def first_line(status: PairStatus) -> str:
    """The verdict, the state in plain words, the cause, and the next command: what a monitoring system shows."""
    text = status.line
    if status.cause and status.cause not in text:
        text += f"; {status.cause}"
    if status.next_command and status.next_command not in text:
        text += f"; next: {status.next_command}"
    return verdict(status.verdict, text)


def side_row(status: PairStatus, side: PairSide) -> tuple[str, ...]:
    """One end of a pair; of an end that does not answer nothing is claimed but since when."""
    name = (status.group, side.side, side.site, ",".join(side.volumes))
    if side.state is None:
        return (*name, unknown(side.unknown_since_ns), NONE, NONE, NONE, NONE)
    return (
        *name,
        side.state.value,
        count(side.sequence),
        journal_fill(side.journal_percent, side.journal_bytes),
        percent(side.copy_percent),
        NONE if side.lag_seconds is None else format_duration(side.lag_seconds),
    )


def journal_fill(fill: float | None, size_bytes: int | None) -> str:
    """`3 % of 8 GiB`."""
    if fill is None or size_bytes is None:
        return NONE
    return f"{percent(fill)} of {format_size(size_bytes)}"


def pair_table(pairs: Sequence[Pair]) -> str:
    """One line a pair: who copies to whom."""
    rows = []
    for pair in pairs:
        writer, reader = (pair.secondary, pair.primary) if pair.taken_over else (pair.primary, pair.secondary)
        rows.append(
            (
                pair.group,
                f"{pair.primary.site}:{','.join(pair.primary.volumes)}",
                f"{pair.secondary.site}:{','.join(pair.secondary.volumes)}",
                f"taken over by {writer.site} from {reader.site}" if pair.taken_over else f"served by {writer.site}",
                str(pair.generation),
            )
        )
    return table(("GROUP", "PRIMARY", "SECONDARY", "SERVICE", "GENERATION"), rows, right=("GENERATION",))


def takeover_text(report: TakeoverReport) -> str:
    """What was done, up to which moment, and what is missing."""
    if report.already:
        words = f"{report.group} is served there already (generation {report.generation}): nothing was done"
        return verdict("OK", words)
    lines = [
        verdict(
            "OK" if report.lost_nothing and not report.mounted_there else "WARN",
            f"{report.group} is taken over ({report.kind}, generation {report.generation}) "
            f"in {format_duration(report.seconds)}",
        ),
        f"      restored to journal {count(report.restored_sequence)} of {clock_tenths(report.restored_time_ns)}, "
        f"{count(report.journals_restored)} of them just now"
        if report.restored_sequence
        else "      nothing was written since the pair was made",
    ]
    lines += dropped_lines(report)
    if report.changed_bytes_missing:
        lines.append(
            f"      missing here: {format_size(report.changed_bytes_missing)} that the primary changed without journals"
        )
    if report.reversed:
        lines.append("      the pair runs in the other direction now")
    if report.missing_journals is None:
        lines.append(
            "      missing here: what the primary wrote while its acquisition was stopped, which cannot be counted"
            if report.unjournaled
            else "      the primary did not answer: what it holds beyond that cannot be counted; its journal keeps it"
        )
    elif report.missing_journals:
        lines.append(
            f"      missing here: {counted(report.missing_journals, 'journal')} "
            f"({format_size(report.missing_bytes or 0)}); the old primary's journal keeps them"
        )
    elif report.lost_nothing:
        lines.append("      nothing is missing")
    if report.mounted_there:
        lines.append(
            f"      still mounted at the old primary: {', '.join(report.mounted_there)}; what its file system had not "
            "written out is not here; unmount it there"
        )
    return "\n".join(lines)


def dropped_lines(report: TakeoverReport) -> list[str]:
    """What had arrived and is not in the volumes."""
    lines = []
    if report.from_safe_point:
        lines.append("      a resync was under way: the volumes went back to its safe point, the state before it")
    if report.journals_dropped:
        words = counted(report.journals_dropped, "journal")
        lines.append(f"      dropped: {words} that had arrived, of no use without the rest of the resync")
    return lines
