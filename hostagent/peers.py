"""The other sites' agents: one kept-alive client each, and when each was last heard.

Owns the paths that agents use among themselves (/v1/peer/..., which are never
forwarded again, so that no request can go in circles) and the book of
contacts. Must not decide anything.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from controller.api.lifecycle import JournalResize, MembersJoin, MembersLeave, ServeOrder, SplitOrder
from controller.api.markers import NamedMarker
from controller.api.models import FenceRequest, Group, JournalState, Shape, Volume
from controller.errors import PairvolError, UsageError
from controller.tls import Certificates
from hostagent.api.drills import DrillOrder, DrillReport, MarkerPut, PutMarker
from hostagent.api.history import TakeoverEntry
from hostagent.api.models import (
    Attachment,
    DroppedAt,
    Exchange,
    ExchangeAnswer,
    JournalCommand,
    PairResync,
    PairSplit,
    PairStatus,
    PeerContact,
    PeerHello,
    SideOrder,
    SideReport,
    TakeoverOrder,
    TakeoverReport,
)
from hostagent.api.verify import VerifyOrder, VerifyReport
from hostagent.api.volumes import PairMembers, SideMembers, SideResize
from hostagent.client import ORDER_SECONDS, TAKEOVER_SECONDS
from hostagent.clock import now
from hostagent.config import PeerSettings
from hostagent.copy_manager.side import Instant
from hostagent.hosts.ways import Ways
from hostagent.transport import Channel, unanswered

EXCHANGE_SECONDS: Final = 2.0
HELLO_SECONDS: Final = 1.0
FRESH_SECONDS: Final = 3.0  # a contact no older than this needs no greeting

Answer = TypeVar("Answer")


def stand_in_prefix(site: str) -> str:
    """Below which an agent answers for a site that it stands in for."""
    return f"/stand-in/{site}"


class AgentClient:
    """The agent of one other site. Threads may share it."""

    def __init__(
        self,
        site: str,
        address: str,
        *more: str,
        stand_in: tuple[str, str] | None = None,
        certificates: Certificates | None = None,
    ) -> None:
        """`more`: other hosts of that site; `stand_in`: address and prefix of who speaks for silent ones."""
        self.site = site
        self.address = address
        who = f"the host agent of {site}"
        made = partial(Channel, who=who, request_seconds=EXCHANGE_SECONDS, certificates=certificates)
        channels = [made(each, site=site) for each in (address, *more)]
        last = made(stand_in[0], prefix=stand_in[1]) if stand_in else None
        self._channel = Ways(channels, last)
        self._lock = threading.Lock()
        self._contact: Instant | None = None
        self._failure: str | None = None

    def heard(self) -> None:
        """It answered, or called."""
        self._channel.heard()
        self._note()

    def _note(self) -> None:
        silence = self._channel.silence  # a stand-in that answers is no contact
        with self._lock:
            self._failure = silence
            if silence is None:
                self._contact = now()

    def contact(self) -> PeerContact:
        """When it was last heard; asks it when that is long ago."""
        with self._lock:
            fresh = self._contact is not None and now().seconds - self._contact.seconds < FRESH_SECONDS
        if not fresh:
            try:
                self.hello()
            except PairvolError:
                pass  # noted in the book
        return self.known()

    def known(self) -> PeerContact:
        """What the book says of it; asks nobody."""
        with self._lock:
            return PeerContact(
                site=self.site,
                agent=self.address,
                ok=self._failure is None,
                last_contact_ns=self._contact.wall_ns if self._contact else 0,
                failure=self._failure,
            )

    def hello(self) -> PeerHello:
        """Is it there, and is it the agent of that site?"""
        return self._noted(lambda: self._channel.call(PeerHello, "GET", "/peer/hello", seconds=HELLO_SECONDS))

    def exchange(self, message: Exchange, seconds: float = EXCHANGE_SECONDS) -> ExchangeAnswer:
        """Tell, and hear: see `copy_manager/manager.py`."""
        return self._order(ExchangeAnswer, "/peer/exchange", message, seconds)

    # -- a side of a pair ------------------------------------------------------------

    def check_side(self, order: SideOrder) -> SideReport:
        """Could that site take its side of a pair? Changes nothing there."""
        return self._order(SideReport, "/peer/pairs/check", order, EXCHANGE_SECONDS)

    def make_side(self, order: SideOrder) -> SideReport:
        """Make that site's side of a pair."""
        return self._order(SideReport, "/peer/pairs", order)

    def check_removal(self, group: str, uuid: str) -> None:
        """Could that site's side be removed without force? Changes nothing there."""
        path, query = f"/peer/pairs/{group}/check-removal", {"uuid": uuid}
        self._noted(lambda: self._channel.send("POST", path, query=query, seconds=TAKEOVER_SECONDS))

    def remove_side(self, group: str, uuid: str, *, force: bool, made: Sequence[str] = ()) -> list[DroppedAt]:
        """Remove that site's side of a pair, and the volumes `made` for it; what was dropped with it."""
        path, query = f"/peer/pairs/{group}", {"uuid": uuid, "force": force, "made": list(made)}
        return self._noted(
            lambda: self._channel.call(list[DroppedAt], "DELETE", path, query=query, seconds=ORDER_SECONDS)
        )

    def serve(self, group: str, order: ServeOrder) -> JournalState:
        """Let the primary there take host writes, or refuse them for a planned takeover."""
        return self._order(JournalState, f"/peer/pairs/{group}/serve", order)

    def call_off(self, group: str, order: ServeOrder) -> JournalState:
        """Give this order back to the primary, unless that site has taken over, or is about to."""
        return self._order(JournalState, f"/peer/pairs/{group}/call-off", order)

    def fence(self, group: str, request: FenceRequest) -> JournalState:
        """The other site serves now: stop serving there, keep everything."""
        return self._order(JournalState, f"/peer/pairs/{group}/fence", request)

    def split_side(self, group: str, order: SplitOrder) -> JournalState:
        """Let hosts use the secondary's volumes there, or end that."""
        return self._order(JournalState, f"/peer/pairs/{group}/split-side", order)

    def resync_side(self, group: str) -> None:
        """A person ordered the resync: begin also one that failed."""
        self._send("POST", f"/peer/pairs/{group}/resync-side")

    def resize_journal(self, group: str, order: JournalResize) -> Group:
        """Let the journal there lie on a volume of another size."""
        return self._order(Group, f"/peer/journals/{group}/resize", order, TAKEOVER_SECONDS)

    def resize_volume(self, group: str, order: SideResize) -> Volume:
        """Let a volume of a group there grow, or ask whether it could."""
        return self._order(Volume, f"/peer/pairs/{group}/resize", order, TAKEOVER_SECONDS)

    def members(self, group: str) -> SideMembers:
        """The group there, and all volumes of that site."""
        return self._ask(SideMembers, f"/peer/pairs/{group}/members")

    def join(self, group: str, order: MembersJoin) -> Group:
        """Let volumes there join the group, or ask whether they could."""
        return self._order(Group, f"/peer/pairs/{group}/join", order)

    def leave(self, group: str, order: MembersLeave) -> Group:
        """Let volumes there leave the group."""
        return self._order(Group, f"/peer/pairs/{group}/leave", order)

    def keep_members(self, group: str, members: PairMembers) -> None:
        """Let the agent there keep the pair with these volumes."""
        self._send("PUT", f"/peer/pairs/{group}/members", body=members)

    # -- commands given at the wrong site ----------------------------------------------

    def take_over(self, group: str, order: TakeoverOrder) -> TakeoverReport:
        """Forward a takeover to the secondary's agent."""
        return self._order(TakeoverReport, f"/peer/pairs/{group}/takeover", order, TAKEOVER_SECONDS)

    def split(self, group: str, order: PairSplit) -> PairStatus:
        """Forward a split to the primary's agent."""
        return self._order(PairStatus, f"/peer/pairs/{group}/split", order)

    def resync(self, group: str, order: PairResync) -> PairStatus:
        """Forward a resync, or a swap, to the agent that carries it out."""
        return self._order(PairStatus, f"/peer/pairs/{group}/resync", order)

    def verify(self, group: str, order: VerifyOrder) -> VerifyReport:
        """Forward a verify to the primary's agent."""
        return self._order(VerifyReport, f"/peer/pairs/{group}/verify", order)

    def journal_command(self, group: str, verb: str, command: JournalCommand) -> JournalState:
        """Forward a journal command to the side that owns it."""
        return self._order(JournalState, f"/peer/journals/{group}/{verb}", command)

    def put_marker(self, group: str, order: MarkerPut) -> PutMarker:
        """Forward a marker to the site whose volumes are written."""
        return self._order(PutMarker, f"/peer/markers/{group}", order)

    def start_drill(self, group: str, order: DrillOrder) -> DrillReport:
        """Forward a drill to the secondary's agent; its check runs there, to its end."""
        seconds = ORDER_SECONDS + order.wait_seconds + order.check_seconds
        return self._order(DrillReport, f"/peer/drills/{group}", order, seconds)

    def confirm_drill(self, group: str, number: int) -> DrillReport:
        """Forward that who asked for a drill knows of it."""
        return self._order(DrillReport, f"/peer/drills/{group}/{number}/confirm", None)

    def stop_drill(self, group: str, number: int | None) -> list[DrillReport]:
        """Forward the end of a drill, or of all of a group."""
        path, query = f"/peer/drills/{group}", {"number": number}
        return self._noted(
            lambda: self._channel.call(list[DrillReport], "DELETE", path, query=query, seconds=ORDER_SECONDS)
        )

    # -- what that site knows ------------------------------------------------------------

    def attachments(self) -> list[Attachment]:
        """What the host of that site has attached."""
        return self._ask(list[Attachment], "/peer/attachments")

    def markers(self, group: str) -> list[NamedMarker]:
        """The markers known at that site."""
        return self._ask(list[NamedMarker], f"/peer/markers/{group}")

    def drills(self, group: str | None) -> list[DrillReport]:
        """The ledger of that site."""
        return self._ask(list[DrillReport], "/peer/drills", {"group": group})

    def takeovers(self, group: str, since_ns: int) -> list[TakeoverEntry]:
        """Those that this site remembers."""
        return self._ask(list[TakeoverEntry], f"/peer/takeovers/{group}", {"since_ns": since_ns})

    # -- calls -----------------------------------------------------------------------------

    def _ask(self, kind: type[Answer], path: str, query: dict[str, Any] | None = None) -> Answer:
        return self._noted(lambda: self._channel.call(kind, "GET", path, query=query))

    def _order(self, kind: type[Answer], path: str, order: Shape | None, seconds: float = ORDER_SECONDS) -> Answer:
        return self._noted(lambda: self._channel.call(kind, "POST", path, body=order, seconds=seconds))

    def _send(self, method: str, path: str, **options: Any) -> None:
        self._noted(lambda: self._channel.send(method, path, seconds=ORDER_SECONDS, **options))

    def _noted(self, call: Callable[[], Answer]) -> Answer:
        """Make a call and note in the book how it went: an error that the other agent answers is a contact."""
        try:
            answer = call()
        except PairvolError as error:
            if unanswered(error):
                with self._lock:
                    self._failure = error.message
            else:
                self._note()
            raise
        self._note()
        return answer

    def close(self) -> None:
        self._channel.close()


class Peers:
    """All other sites by name."""

    def __init__(
        self,
        site: str,
        settings: Mapping[str, PeerSettings],
        own_address: str = "",
        certificates: Certificates | None = None,
    ) -> None:
        """`own_address`: where the stand-ins of this agent are reached."""
        self.site = site
        self._clients = {
            name: AgentClient(
                name,
                peer.agent,
                *peer.other_agents,
                stand_in=(own_address, stand_in_prefix(name)) if peer.controller else None,
                certificates=certificates,
            )
            for name, peer in settings.items()
        }

    def get(self, site: str) -> AgentClient:
        """The agent of a site; UsageError for a site that is not configured here."""
        client = self._clients.get(site)
        if client is None:
            known = ", ".join(sorted([self.site, *self._clients]))
            raise UsageError(
                f"site {site} is not known at {self.site}",
                hint=f"Known are {known}; add [peers.{site}] to the agent's configuration.",
                site=site,
            )
        return client

    def heard(self, site: str) -> None:
        """A site's agent called us."""
        client = self._clients.get(site)
        if client is not None:
            client.heard()

    def contacts(self) -> list[PeerContact]:
        return [client.contact() for _, client in sorted(self._clients.items())]

    def known(self) -> list[PeerContact]:
        """As `contacts`, from the book alone."""
        return [client.known() for _, client in sorted(self._clients.items())]

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
