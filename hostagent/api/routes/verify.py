"""/pairs/GROUP/verify: whether both sides hold the same."""

from __future__ import annotations

from controller.api.late import Noun
from controller.api.models import Name
from hostagent.api.routes.dependencies import Here
from hostagent.api.verify import VerifyOrder, VerifyReport
from hostagent.commands import verify

noun = Noun(tags=["verify"])


@noun.get("/pairs/{group}/verify")
def report(host: Here, group: Name) -> VerifyReport:
    """How the verify of a pair stands, or how the last one ended."""
    return verify.report(host, group)


@noun.post("/pairs/{group}/verify", status_code=202)
def order(host: Here, group: Name, order: VerifyOrder) -> VerifyReport:
    """Compare both sides, under load and without stopping anything; with `repair`, mend what differs."""
    return verify.order(host, group, order)


@noun.post("/peer/pairs/{group}/verify", status_code=202, tags=["between agents"])
def order_forwarded(host: Here, group: Name, order: VerifyOrder) -> VerifyReport:
    """A verify that the other agent was given."""
    return verify.order(host, group, order, forwarded=True)
