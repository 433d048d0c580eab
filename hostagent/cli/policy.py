"""`pair set`: what may be changed of a pair that is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from hostagent.cli.pair import app
from hostagent.cli.pair_options import GroupArgument, LimitOption, parse_limit
from hostagent.cli.session import Session, verb

if TYPE_CHECKING:
    from hostagent.api.models import PairStatus


@verb(app, "set")
def set_(session: Session, group: GroupArgument, limit: LimitOption = None) -> None:
    """Change the bandwidth limit of a pair while it runs. The copy goes on where it is."""
    if limit is None:
        raise typer.BadParameter("say what to change: --limit 10M, or --limit none", param_hint="--limit")
    _show(session, session.agent.set_pair(group, parse_limit(limit)))


def _show(session: Session, status: PairStatus) -> None:
    from hostagent.cli.pair_view import status_text

    session.show(status, lambda: status_text([status]))
