"""`journal resize`: journals of another size, while hosts write on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from controller.units import format_size, parse_size
from hostagent.cli.journal import app as journal_app
from hostagent.cli.pair import GroupArgument
from hostagent.cli.session import Session, validated, verb

if TYPE_CHECKING:
    from hostagent.api.models import JournalSizes


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
    from hostagent.api.models import JournalSize

    order = validated(
        JournalSize,
        size_bytes=parse_size(size) if size is not None else None,
        side=side,
        journal_volumes=journal.split(",") if journal else [],
    )
    sizes = session.agent.resize_journal(group, order)
    session.show(sizes, lambda: _text(sizes))


def _text(sizes: JournalSizes) -> str:
    both = (("primary", sizes.primary), ("secondary", sizes.secondary))
    return f"{sizes.group}: " + ", ".join(f"{side} journal {format_size(size)}" for side, size in both if size)
