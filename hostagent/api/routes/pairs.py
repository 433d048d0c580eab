"""/pairs and /journals: the commands about pairs. Either site's agent takes each of them."""

from __future__ import annotations

from controller.api.late import Noun
from controller.api.models import JournalState, Name
from hostagent.api.models import (
    JournalCommand,
    JournalSides,
    Pair,
    PairCompress,
    PairCreate,
    PairDeletion,
    PairSet,
    PairStatus,
    TakeoverOrder,
    TakeoverReport,
)
from hostagent.api.routes.dependencies import Here
from hostagent.commands import create as creation
from hostagent.commands import delete as deletion
from hostagent.commands import journals, policy, takeover
from hostagent.commands.journals import Verb

noun = Noun(tags=["pairs"])


@noun.get("/pairs")
def pairs(host: Here) -> list[Pair]:
    """The pairs this site takes part in."""
    return host.store.all()


@noun.post("/pairs", status_code=201)
def create(host: Here, order: PairCreate) -> PairStatus:
    """The pair generation command."""
    return creation.create(host, order)


@noun.get("/pairs/status")
def statuses(host: Here) -> list[PairStatus]:
    """Is everything protected?"""
    return [host.runner(pair.group).status() for pair in host.store.all()]


@noun.get("/pairs/{group}/status")
def status(host: Here, group: Name) -> PairStatus:
    """Is this pair protected?"""
    return host.runner(group).status()


@noun.post("/pairs/{group}/set")
def change(host: Here, group: Name, order: PairSet) -> PairStatus:
    """Another bandwidth limit, while the pair runs."""
    return policy.change(host, group, order)


@noun.post("/pairs/{group}/compress")
def compress(host: Here, group: Name, order: PairCompress) -> PairStatus:
    """Another compression of the transfer, while the pair runs."""
    return policy.compress(host, group, order)


@noun.post("/pairs/{group}/takeover")
def take_over(host: Here, group: Name, order: TakeoverOrder) -> TakeoverReport:
    """The secondary serves the volumes from now on."""
    return takeover.take_over(host, group, order)


@noun.delete("/pairs/{group}")
def delete(host: Here, group: Name, force: bool = False) -> PairDeletion:
    """End a pair at both sites; volumes stay."""
    return deletion.delete(host, group, force=force)


@noun.get("/journals/{group}")
def sides(host: Here, group: Name) -> JournalSides:
    """Both journals as they are now."""
    return journals.journal_sides(host, group)


@noun.post("/journals/{group}/{verb}")
def command(host: Here, group: Name, verb: Verb, order: JournalCommand) -> JournalState:
    """A journal command, carried out at the side that owns it."""
    return journals.command(host, group, verb, order)
