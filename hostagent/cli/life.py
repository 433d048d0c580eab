"""`pairvol pair split` and `pairvol pair resync`: a pair stopped, brought back in step, turned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hostagent.cli.pair import GroupArgument, app
from hostagent.cli.session import Session, verb

if TYPE_CHECKING:
    from hostagent.api.models import PairStatus


@verb(app, "split")
def split(
    session: Session,
    group: GroupArgument,
    rw: Annotated[bool, typer.Option("--rw", help="Let hosts write the SVOL; a resync overwrites that again.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also with hosts connected to the SVOL.")] = False,
) -> None:
    """Stop replication in a consistent state. The SVOL is readable; changes are tracked."""
    from hostagent.api.models import PairSplit

    _show(session, session.agent.split_pair(group, PairSplit(writable=rw, force=force)))


@verb(app, "resync")
def resync(
    session: Session,
    group: GroupArgument,
    swap: Annotated[
        bool, typer.Option("--swap", help="After a takeover: the old primary follows, the direction is reversed.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Give up what never reached the new primary; or disconnect hosts.")
    ] = False,
) -> None:
    """Bring a pair back in step by what differs. Replication goes on from there."""
    from hostagent.api.models import PairResync

    _show(session, session.agent.resync_pair(group, PairResync(swap=swap, force=force)))


def _show(session: Session, status: PairStatus) -> None:
    from hostagent.cli.pair_view import status_text

    session.show(status, lambda: status_text([status]))
