"""`pair set`: what may be changed of a pair that is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from hostagent.cli.pair import app
from hostagent.cli.pair_options import CompressOption, GroupArgument, LimitOption, parse_compression, parse_limit
from hostagent.cli.progress import Waiting, goes_on, watched
from hostagent.cli.session import Session, verb

if TYPE_CHECKING:
    from hostagent.api.models import PairStatus


@verb(app, "set")
def set_(session: Session, group: GroupArgument, limit: LimitOption = None, compress: CompressOption = None) -> None:
    """Change the bandwidth limit or the compression of a pair while it runs. The copy goes on where it is."""
    from controller.api.models import Compression

    if limit is None and compress is None:
        words = "say what to change: --limit 10M, or --limit none, --compress zstd, or --compress none"
        raise typer.BadParameter(words, param_hint="--limit")
    compression = Compression(parse_compression(compress)) if compress is not None else None
    bytes_per_second = parse_limit(limit) if limit is not None else None
    left = goes_on("the change", f"pair status {group}")
    if compression is not None:  # first: this one can be refused (beside [tls]), and nothing is changed then
        look = Waiting(f"the compression of {group}")
        status = watched(lambda: session.agent.compress_pair(group, compression), look, left)
    if limit is not None:
        look = Waiting(f"the limit of {group}")
        status = watched(lambda: session.agent.set_pair(group, bytes_per_second), look, left)
    _show(session, status)


def _show(session: Session, status: PairStatus) -> None:
    from hostagent.cli.pair_view import status_text

    session.show(status, lambda: status_text([status]))
