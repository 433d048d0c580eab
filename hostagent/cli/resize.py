"""`journal resize` and `volume resize`: another size, while hosts write on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from controller.units import format_size, parse_size
from hostagent.cli.journal import app as journal_app
from hostagent.cli.pair_options import GroupArgument
from hostagent.cli.progress import Waiting, goes_on, watched
from hostagent.cli.session import Session, validated, verb
from hostagent.cli.volume import NameArgument
from hostagent.cli.volume import app as volume_app

if TYPE_CHECKING:
    from hostagent.api.volumes import JournalSizes, VolumeSizes


@verb(journal_app, "resize")
def resize_journal(
    session: Session,
    group: GroupArgument,
    size: Annotated[str | None, typer.Argument(metavar="[SIZE]", help="Such as 8G.")] = None,
    side: Annotated[str, typer.Option("--side", help="primary, secondary or both.")] = "both",
    journal: Annotated[
        str | None, typer.Option("--journal", metavar="VOL", help="The pool volume of that side to lie on.")
    ] = None,
) -> None:
    """Give the journals of a pair another size. Journals that are still needed go along; hosts write on."""
    from hostagent.api.volumes import JournalSize

    order = validated(
        JournalSize,
        size_bytes=parse_size(size) if size is not None else None,
        side=side,
        journal_volumes=journal.split(",") if journal else [],
    )
    look = Waiting(f"the journals of {group} to move to another size")
    left = goes_on("the move", f"journal status {group}")
    sizes = watched(lambda: session.agent.resize_journal(group, order), look, left)
    session.show(sizes, lambda: _text(sizes))


def _text(sizes: JournalSizes) -> str:
    both = (("primary", sizes.primary), ("secondary", sizes.secondary))
    return f"{sizes.group}: " + ", ".join(f"{side} journal {format_size(size)}" for side, size in both if size)


@verb(volume_app, "resize")
def resize_volume(
    session: Session, name: NameArgument, size: Annotated[str, typer.Argument(help="Such as 20G; never smaller.")]
) -> None:
    """Make a volume larger, at both sites when it is paired. Hosts see it when they connect again."""
    size_bytes = parse_size(size)
    look = Waiting(f"{name} to grow to {format_size(size_bytes)}")
    left = goes_on(f"the growth of {name}", f"volume show {name}")
    sizes = watched(lambda: session.agent.resize_volume(name, size_bytes), look, left)
    session.show(sizes, lambda: _sizes_text(sizes))


def _sizes_text(sizes: VolumeSizes) -> str:
    where = ", ".join(f"{format_size(size)} at {site}" for site, size in sizes.sizes.items())
    return f"{sizes.volume}: {where}; a host that has it attached sees that after it detached and attached it again"
