"""/pairs/{group}/history and /peer/takeovers: the ledger of achieved RPO and RTO."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from controller.api.late import Noun
from controller.api.models import Name
from hostagent.api.history import PairHistory, TakeoverEntry
from hostagent.api.routes.dependencies import Here
from hostagent.history import commands

noun = Noun(tags=["history"])

Since = Annotated[int, Query(ge=0, le=(1 << 63) - 1, description="UTC nanoseconds; 0: since the pair was made.")]


@noun.get("/pairs/{group}/history")
def history(host: Here, group: Name, since_ns: Since = 0) -> PairHistory:
    """Time in each state, lag in percentiles, takeovers and drills."""
    return commands.history(host, group, since_ns)


@noun.get("/peer/takeovers/{group}", tags=["between agents"])
def takeovers(host: Here, group: Name, since_ns: Since = 0) -> list[TakeoverEntry]:
    """The other agent asks which takeovers were carried out here."""
    return commands.takeovers_here(host, group, since_ns)
