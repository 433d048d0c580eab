"""/peer: what agents say to each other. Nothing here is forwarded again, so no request goes in circles."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from controller.api.late import Noun
from controller.api.lifecycle import ServeOrder
from controller.api.models import FenceRequest, JournalState, Name
from controller.errors import PeerError
from hostagent.api.models import (
    Attachment,
    DroppedAt,
    Exchange,
    ExchangeAnswer,
    JournalCommand,
    PeerHello,
    SideOrder,
    SideReport,
    TakeoverOrder,
    TakeoverReport,
)
from hostagent.api.routes.agent import program_version
from hostagent.api.routes.dependencies import Here
from hostagent.commands import journals, sides, takeover
from hostagent.commands.journals import Verb
from hostagent.hooks import site

Made = Annotated[list[Name] | None, Query()]

noun = Noun("/peer", tags=["between agents"])


@noun.get("/hello")
def hello(host: Here) -> PeerHello:
    """Who is here? A stand-in speaks only for a controller that it reaches."""
    if host.stands_in:
        host.controller.site()
    return PeerHello(site=host.site, version=program_version())


@noun.post("/exchange")
def exchange(host: Here, told: Exchange) -> ExchangeAnswer:
    """Hear what the other agent knows of a pair; answer with what is known here, fresh from the controller."""
    if not told.stands_in:
        host.peers.heard(told.site)
    runner = host.runners.find(told.pair.group)
    if runner is None and host.stands_in:
        raise PeerError(f"the stand-in of {host.site} has not looked at {told.pair.group} yet")
    if runner is None:
        return ExchangeAnswer(site=host.site, pair=host.store.find(told.pair.group), state=None)
    answer = runner.heard(told)
    if host.stands_in and answer.failure is not None and answer.failure.error == PeerError.__name__:
        raise PeerError(answer.failure.message, hint=answer.failure.hint)
    return answer


@noun.post("/pairs/check")
def check_side(host: Here, order: SideOrder) -> SideReport:
    """Could this site take its side of a pair?"""
    return sides.check_side(host, order)


@noun.post("/pairs", status_code=201)
def make_side(host: Here, order: SideOrder) -> SideReport:
    """Make this site's side of a pair."""
    return sides.make_side(host, order)


@noun.post("/pairs/{group}/check-removal", status_code=204)
def check_removal(host: Here, group: Name, uuid: str) -> None:
    """Could this site's side be removed without force?"""
    sides.check_removal(host, group, uuid)


@noun.delete("/pairs/{group}")
def remove_side(host: Here, group: Name, uuid: str, force: bool = False, made: Made = None) -> list[DroppedAt]:
    """Remove this site's side of a pair; to undo a command that failed, also the volumes it made."""
    return sides.remove_side(host, group, uuid, force=force, made=made or [])


@noun.post("/pairs/{group}/serve")
def serve(host: Here, group: Name, order: ServeOrder) -> JournalState:
    """Take host writes, or refuse them for a planned takeover; the state after the last of them."""
    if order.on or not (host.quiet.configured or host.hosts):
        return host.controller.serve(group, order)
    with site.quiet(host, group, "takeover", freeze=False, strict=False):
        return host.controller.serve(group, order)


@noun.post("/pairs/{group}/call-off")
def call_off(host: Here, group: Name, order: ServeOrder) -> JournalState:
    """Let the primary take host writes again that it refuses for a takeover of this site."""
    return takeover.call_off(host, group, order)


@noun.post("/pairs/{group}/fence")
def fence(host: Here, group: Name, request: FenceRequest) -> JournalState:
    """The other site has taken over: stop serving, keep everything."""
    runner = host.runner(group)
    host.controller.fence(group, request)
    runner.awaken()
    return host.controller.state(group)


@noun.post("/pairs/{group}/takeover")
def take_over(host: Here, group: Name, order: TakeoverOrder) -> TakeoverReport:
    """A takeover that the primary's agent was given."""
    return takeover.take_over(host, group, order, forwarded=True)


@noun.get("/attachments")
def attachments(host: Here) -> list[Attachment]:
    """What this host has attached, and where it is mounted."""
    return host.devices.shown()


@noun.post("/journals/{group}/{verb}")
def command(host: Here, group: Name, verb: Verb, order: JournalCommand) -> JournalState:
    """A journal command that the other agent was given."""
    return journals.command(host, group, verb, order, forwarded=True)
