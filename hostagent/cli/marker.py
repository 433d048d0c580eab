"""`pairvol marker`: names for moments in the order of writes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from controller.errors import PeerError
from controller.units import parse_duration
from hostagent.cli.output import NONE, clock_tenths, count, table, unknown
from hostagent.cli.progress import Journals, Looks, Waiting, goes_on, watched
from hostagent.cli.session import Session, noun, validated, verb

if TYPE_CHECKING:
    from hostagent.api.drills import MarkerSides, PutMarker

app = noun("marker", "Markers: names for moments in the order of writes, known at both sites.")

POLL_SECONDS: Final = 0.2

GroupArgument = Annotated[str, typer.Argument(metavar="GROUP", help="The pair's group.")]


@verb(app, "put")
def put(
    session: Session,
    group: GroupArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Letters, digits, dots, hyphens, underscores.")],
    freeze: Annotated[
        bool, typer.Option("--freeze", help="While the file systems on the volumes stand still (fsfreeze).")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Until it is restored at the secondary.")] = False,
    timeout: Annotated[str, typer.Option("--timeout", metavar="TIME", help="At most so long, as 60 or 5m.")] = "60",
) -> None:
    """Put a marker behind every write that is acknowledged by now."""
    from hostagent.api.drills import MarkerPut

    order, seconds = validated(MarkerPut, name=name, freeze=freeze), parse_duration(timeout)
    look: Looks = Waiting(f"marker {name} of {group} to be put" + (", file systems frozen" if freeze else ""))
    left = goes_on(f"the put of marker {name}", f"marker list {group}", "the same command again puts another one")
    marker = watched(lambda: session.agent.put_marker(group, order.name, freeze=order.freeze), look, left)
    if wait:
        look = Journals(session, group, f"marker {marker.name} of {group}")
        left = f'marker {marker.name} is put; "pairvol marker list {group}" tells when it is restored'
        watched(lambda: wait_restored(session, group, marker.sequence, seconds), look, left)
    session.show(marker, lambda: put_text(marker, restored=wait))


def put_text(marker: PutMarker, *, restored: bool) -> str:
    """What was put where, and what stood still."""
    line = f"{marker.name}: sequence {count(marker.sequence)}, {clock_tenths(marker.time_ns)}"
    if marker.frozen:
        line += f", {' and '.join(marker.frozen)} frozen for {marker.quiet_seconds:.2f} s"
    elif marker.quiet_seconds is not None:
        line += f", hooks run in {marker.quiet_seconds:.2f} s"
    if restored:
        line += ", restored at the secondary"
    return "\n".join([line, *(f"host {name} did not answer, nothing was frozen there" for name in marker.silent)])


@verb(app, "list")
def list_(session: Session, group: GroupArgument) -> None:
    """List the markers of a group as both sites know them."""
    sides = session.agent.markers(group)
    session.show(sides, lambda: marker_table(sides))


def wait_restored(session: Session, group: str, sequence: int, seconds: float) -> None:
    """Wait until the secondary has restored a journal; PeerError when it takes longer."""
    deadline = time.monotonic() + seconds
    reached: int | None = None
    while True:
        state = session.agent.journal(group).secondary
        if state is not None:
            reached = state.pointers["already_restored"].sequence
            if reached >= sequence:
                return
        if time.monotonic() >= deadline:
            held = state is not None and state.drills > 0
            raise PeerError(
                f"journal {sequence} of {group} was not restored within {seconds:g} s: the secondary "
                + (f"is at {reached}" if reached is not None else "does not answer"),
                hint=f'A drill holds restore: "pairvol drill stop {group}".'
                if held
                else f'See "pairvol pair status {group}"; the marker is on its way.',
            )
        time.sleep(POLL_SECONDS)


def marker_table(sides: MarkerSides) -> str:
    """One line a marker, with where it is known."""
    primary, secondary = sides.primary or [], sides.secondary or []
    known = {(marker.sequence, marker.time_ns): marker for marker in (*primary, *secondary)}

    def where(side: list[object], key: tuple[int, int]) -> str:
        return "yes" if any((each.sequence, each.time_ns) == key for each in side) else NONE  # type: ignore[attr-defined]

    rows = [
        (known[key].name, count(key[0]), clock_tenths(key[1]), where([*primary], key), where([*secondary], key))
        for key in sorted(known)
    ]
    text = table(("MARKER", "SEQ", "TIME", "PUT", "RESTORED"), rows, right=("SEQ",)) if rows else "no markers"
    return "\n".join([text, *(f"{site} {unknown(since)}" for site, since in sides.unknown_since_ns.items())])
