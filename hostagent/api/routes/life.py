"""Split, resync and swap: as commands, and what agents ask of each other for them."""

from __future__ import annotations

from controller.api.late import Noun
from controller.api.lifecycle import Orphan, SplitOrder
from controller.api.models import JournalState, Name
from hostagent.api.models import JournalFiles, PairResync, PairSplit, PairStatus
from hostagent.api.routes.dependencies import Here
from hostagent.commands import orphans
from hostagent.life import commands

noun = Noun(tags=["life of a pair"])


@noun.post("/pairs/{group}/split")
def split(host: Here, group: Name, order: PairSplit) -> PairStatus:
    """Stop replication in a consistent state; hosts may use the SVOL."""
    return commands.split(host, group, order)


@noun.post("/pairs/{group}/resync")
def resync(host: Here, group: Name, order: PairResync) -> PairStatus:
    """Bring a pair back in step by what differs, or turn it after a takeover."""
    return commands.resync(host, group, order)


@noun.get("/journals/{group}/files")
def files(host: Here, group: Name) -> JournalFiles:
    """Where this site keeps the group's journal, and tails of earlier lives as primary."""
    path = host.controller.group(group).journal_path
    return JournalFiles(journal_path=path, orphans=host.controller.orphans(group))


@noun.delete("/journals/{group}/orphans/{orphan}")
def drop_orphan(host: Here, group: Name, orphan: Name, force: bool = False) -> Orphan:
    """Drop a kept tail of this site; the answer is what it was."""
    return orphans.drop(host, group, orphan, force=force)


@noun.post("/peer/pairs/{group}/split", tags=["between agents"])
def split_forwarded(host: Here, group: Name, order: PairSplit) -> PairStatus:
    """A split that the other agent was given."""
    return commands.split(host, group, order, forwarded=True)


@noun.post("/peer/pairs/{group}/resync", tags=["between agents"])
def resync_forwarded(host: Here, group: Name, order: PairResync) -> PairStatus:
    """A resync that the other agent was given."""
    return commands.resync(host, group, order, forwarded=True)


@noun.post("/peer/pairs/{group}/split-side", tags=["between agents"])
def split_side(host: Here, group: Name, order: SplitOrder) -> JournalState:
    """Let hosts use the volumes of the secondary here, or end that."""
    state = host.controller.split(group, order)
    host.runner(group).awaken()
    return state


@noun.post("/peer/pairs/{group}/resync-side", status_code=204, tags=["between agents"])
def resync_side(host: Here, group: Name) -> None:
    """A person ordered the resync."""
    host.runner(group).order_resync()
