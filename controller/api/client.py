"""The storage controller as seen from outside: one method for each endpoint.

Owns requests, deadlines and the way back from a Problem to the exception that
the controller raised. PeerError when it does not answer. Threads may share a
client; every call is bounded in time and memory (controller/exchange.py).
"""

from __future__ import annotations

import copy
from types import TracebackType
from typing import Any, Final, Self, TypeVar, cast

import httpx
from pydantic import BaseModel, ValidationError

from controller.addresses import SITE_HEADER, parse_listener
from controller.api.drills import Drill, DrillStamp, DrillStart, RestoreEndOrder
from controller.api.drivers import DRIVER_HEADER, LEASE_HEADER, DriverClaim, DriverLease, KeptPair
from controller.api.lifecycle import (
    DemoteOrder,
    DemoteResult,
    Dropped,
    EpochOrder,
    JournalResize,
    MembersJoin,
    MembersLeave,
    Orphan,
    PromoteOrder,
    ResyncOrder,
    ServeOrder,
    SplitOrder,
    SuspendOrder,
    VolumeResize,
)
from controller.api.markers import MarkerOrder, NamedMarker
from controller.api.models import (
    AcquisitionOrder,
    ChangedRegions,
    CompressionOrder,
    CopyOrder,
    Event,
    FenceRequest,
    Group,
    GroupCreate,
    InitialCopyOrder,
    JournalState,
    PoolAdd,
    PoolVolume,
    PurgeRequest,
    RestoreRequest,
    SiteInfo,
    TakeoverRequest,
    TakeoverResult,
    Volume,
    VolumeCreate,
)
from controller.api.problems import error_of
from controller.api.runs import RunOrder, RunState
from controller.api.shape import reader
from controller.errors import IntegrityError, PeerError
from controller.exchange import exchange, transport
from controller.tls import Certificates, context_for, words_of

ASK_SECONDS: Final = 5.0
METRICS_SECONDS: Final = 8.0  # a silent volume server is waited for; scrapers give up after ten
ORDER_SECONDS: Final = 120.0  # journals are allocated, servers started
TAKEOVER_SECONDS: Final = 3600.0  # everything in the local journal is restored first

Answer = TypeVar("Answer")


class ControllerClient:
    """Talks to one controller at `unix:/PATH`, `HOST:PORT` or, with certificates, `https://HOST:PORT`."""

    def __init__(
        self,
        address: str,
        *,
        seconds: float = ASK_SECONDS,
        site: str | None = None,
        certificates: Certificates | None = None,
    ) -> None:
        """`site`: the one that it must be of; a controller of another one refuses what is asked."""
        self._seconds = seconds
        self._address = parse_listener(address)
        way = transport(context_for(self._address, certificates), self._address.path)
        # No proxies of the environment: commands go where the configuration says, or nowhere.
        headers = {SITE_HEADER: site} if site is not None else None
        url = f"{self._address.url}/v1"
        self._http = httpx.Client(base_url=url, transport=way, trust_env=False, headers=headers)
        self._token: str | None = None

    def driving(self, token: str) -> ControllerClient:
        """The same connection: orders are taken only while this token is the driver's, and looks renew the lease."""
        other = copy.copy(self)
        other._token = token
        return other

    # -- the controller ------------------------------------------------------------

    def site(self) -> SiteInfo:
        return self._ask(SiteInfo, "/site")

    def events(self, after: int = 0, wait: float = 0.0) -> list[Event]:
        """Events numbered above `after`; waits up to `wait` seconds for the first."""
        return self._ask(list[Event], "/events", wait, after=after, wait=wait)

    def metrics(self) -> str:
        """What it tells a monitoring system, in the text form of Prometheus."""
        return self._send("GET", str(self._http.base_url.copy_with(path="/metrics")), METRICS_SECONDS).text

    def shutdown(self, *, servers: bool = True) -> None:
        """End the controller, and (by default) every nbdkit process that it keeps."""
        self._send("POST", "/shutdown", self._seconds, query={"servers": str(servers).lower()})

    # -- pool and volumes ----------------------------------------------------------

    def pool(self) -> list[PoolVolume]:
        return self._ask(list[PoolVolume], "/pool")

    def add_to_pool(self, request: PoolAdd) -> PoolVolume:
        return self._order(PoolVolume, "/pool", request)

    def remove_from_pool(self, name: str) -> None:
        self._send("DELETE", f"/pool/{name}", ORDER_SECONDS)

    def volumes(self) -> list[Volume]:
        return self._ask(list[Volume], "/volumes")

    def volume(self, name: str) -> Volume:
        return self._ask(Volume, f"/volumes/{name}")

    def create_volume(self, request: VolumeCreate) -> Volume:
        return self._order(Volume, "/volumes", request)

    def delete_volume(self, name: str) -> None:
        self._send("DELETE", f"/volumes/{name}", ORDER_SECONDS)

    def resize_volume(self, name: str, order: VolumeResize) -> Volume:
        return self._order(Volume, f"/volumes/{name}/resize", order, TAKEOVER_SECONDS)

    # -- groups --------------------------------------------------------------------

    def groups(self) -> list[Group]:
        return self._ask(list[Group], "/groups")

    def group(self, name: str) -> Group:
        """The composition command."""
        return self._ask(Group, f"/groups/{name}")

    def create_group(self, request: GroupCreate) -> Group:
        return self._order(Group, "/groups", request)

    def delete_group(self, name: str, *, force: bool = False) -> list[Dropped]:
        path, query = f"/groups/{name}", {"force": str(force).lower()}
        return self._parse(list[Dropped], self._send("DELETE", path, TAKEOVER_SECONDS, query=query), path)

    def check_deletion(self, name: str) -> None:
        """Raises what `delete_group` without force would."""
        self._send("POST", f"/groups/{name}/check-deletion", TAKEOVER_SECONDS)

    def state(self, group: str, after: int | None = None, wait: float = 0.0) -> JournalState:
        """The journal-creation-state command; with `after`, answers when the journal went beyond it."""
        query = {} if after is None else {"after": after, "wait": wait}
        return self._ask(JournalState, f"/groups/{group}/state", wait, **query)

    def set_acquisition(self, group: str, order: AcquisitionOrder) -> JournalState:
        return self._order(JournalState, f"/groups/{group}/acquisition", order)

    def order_initial_copy(self, group: str, order: InitialCopyOrder) -> JournalState:
        return self._order(JournalState, f"/groups/{group}/initial-copy", order)

    def order_copy(self, group: str, order: CopyOrder) -> JournalState:
        return self._order(JournalState, f"/groups/{group}/copy", order, self._seconds)

    def order_restore(self, group: str, request: RestoreRequest) -> JournalState:
        return self._order(JournalState, f"/groups/{group}/restore", request, self._seconds)

    def purge(self, group: str, request: PurgeRequest) -> JournalState:
        return self._order(JournalState, f"/groups/{group}/purge", request, self._seconds)

    def take_over(self, group: str, request: TakeoverRequest) -> TakeoverResult:
        return self._order(TakeoverResult, f"/groups/{group}/takeover", request, TAKEOVER_SECONDS)

    def fence(self, group: str, request: FenceRequest) -> Group:
        return self._order(Group, f"/groups/{group}/fence", request)

    # -- what a group is (controller/LIFECYCLE.md) -----------------------------------

    def suspend(self, group: str, order: SuspendOrder | None = None) -> JournalState:
        return self._order(JournalState, f"/groups/{group}/suspend", order or SuspendOrder())

    def resume(self, group: str) -> JournalState:
        return self._order(JournalState, f"/groups/{group}/resume", None)

    def regions(self, group: str) -> ChangedRegions:
        """The final set of changed regions; NotFoundError when there is none."""
        return self._ask(ChangedRegions, f"/groups/{group}/regions", ORDER_SECONDS)

    def resync(self, group: str, order: ResyncOrder) -> JournalState:
        return self._order(JournalState, f"/groups/{group}/resync", order)

    def clear_epoch(self, group: str, order: EpochOrder) -> JournalState:
        return self._order(JournalState, f"/groups/{group}/clear-epoch", order)

    def demote(self, group: str, order: DemoteOrder) -> DemoteResult:
        return self._order(DemoteResult, f"/groups/{group}/demote", order, TAKEOVER_SECONDS)

    def promote(self, group: str, order: PromoteOrder) -> JournalState:
        return self._order(JournalState, f"/groups/{group}/promote", order)

    def split(self, group: str, order: SplitOrder) -> JournalState:
        return self._order(JournalState, f"/groups/{group}/split", order)

    def serve(self, group: str, order: ServeOrder) -> JournalState:
        return self._order(JournalState, f"/groups/{group}/serve", order)

    def set_compression(self, group: str, order: CompressionOrder) -> JournalState:
        return self._order(JournalState, f"/groups/{group}/compression", order)

    def resize_journal(self, group: str, order: JournalResize) -> Group:
        return self._order(Group, f"/groups/{group}/journal/resize", order, TAKEOVER_SECONDS)

    def join_volumes(self, group: str, order: MembersJoin) -> Group:
        return self._order(Group, f"/groups/{group}/volumes/join", order)

    def leave_volumes(self, group: str, order: MembersLeave) -> Group:
        return self._order(Group, f"/groups/{group}/volumes/leave", order)

    def orphans(self, group: str) -> list[Orphan]:
        return self._ask(list[Orphan], f"/groups/{group}/orphans")

    def drop_orphan(self, group: str, orphan: str) -> None:
        self._send("DELETE", f"/groups/{group}/orphans/{orphan}", ORDER_SECONDS)

    def order_run(self, group: str, order: RunOrder) -> RunState:
        return self._order(RunState, f"/groups/{group}/run", order)

    # -- markers and drills ----------------------------------------------------------

    def markers(self, group: str) -> list[NamedMarker]:
        return self._ask(list[NamedMarker], f"/groups/{group}/markers")

    def put_marker(self, group: str, order: MarkerOrder) -> NamedMarker:
        return self._order(NamedMarker, f"/groups/{group}/markers", order)

    def drills(self, group: str | None = None) -> list[Drill]:
        return self._ask(list[Drill], "/drills" if group is None else f"/groups/{group}/drills")

    def set_restore_end(self, group: str, order: RestoreEndOrder) -> JournalState:
        """Let restore stand at a moment ahead, for as long as this is renewed."""
        return self._order(JournalState, f"/groups/{group}/restore-end", order, self._seconds)

    def start_drill(self, group: str, order: DrillStart) -> Drill:
        return self._order(Drill, f"/groups/{group}/drills", order)

    def stamp_drill(self, group: str, number: int, order: DrillStamp) -> Drill:
        return self._order(Drill, f"/groups/{group}/drills/{number}/stamp", order)

    def renew_drill(self, group: str, number: int) -> Drill:
        """Speak for a drill that nobody has confirmed."""
        return self._order(Drill, f"/groups/{group}/drills/{number}/renew", None, self._seconds)

    def stop_drill(self, group: str, number: int, *, unconfirmed: bool = False) -> Drill:
        """With `unconfirmed`, one that was confirmed stays open."""
        path = f"/groups/{group}/drills/{number}"
        query = {"unconfirmed": unconfirmed}
        return self._parse(Drill, self._send("DELETE", path, ORDER_SECONDS, query=query), path)

    # -- who drives (hostagent/hosts/HOSTS.md) -----------------------------------------------

    def claim_driver(self, group: str, claim: DriverClaim) -> DriverLease:
        """Drive a group, go on driving it, or learn who does."""
        return self._order(DriverLease, f"/groups/{group}/driver", claim, self._seconds)

    def release_driver(self, group: str, agent: str) -> None:
        """End driving in order."""
        self._send("DELETE", f"/groups/{group}/driver", self._seconds, query={"agent": agent})

    def pairs(self) -> list[KeptPair]:
        """Every group with what host agents keep beside it."""
        return self._ask(list[KeptPair], "/pairs")

    def keep_pair(self, group: str, record: BaseModel) -> None:
        self._send("PUT", f"/groups/{group}/pair", ORDER_SECONDS, body=record)

    # -- the wire ------------------------------------------------------------------

    def _ask(self, kind: type[Answer], path: str, wait: float = 0.0, /, **query: Any) -> Answer:
        return self._parse(kind, self._send("GET", path, self._seconds + wait, query=query), path)

    def _order(self, kind: type[Answer], path: str, body: BaseModel | None, seconds: float = ORDER_SECONDS) -> Answer:
        return self._parse(kind, self._send("POST", path, seconds, body=body), path)

    def _send(
        self, method: str, path: str, seconds: float, *, body: BaseModel | None = None, query: Any = None
    ) -> httpx.Response:
        content = body.model_dump_json() if body is not None else None
        headers = {"content-type": "application/json"} if body is not None else {}
        if self._token is not None:
            headers[LEASE_HEADER if method == "GET" else DRIVER_HEADER] = self._token
        try:
            response = exchange(
                self._http, method, path, seconds=seconds, content=content, headers=headers, params=query
            )
        except httpx.TimeoutException as error:
            raise PeerError(
                f"the controller at {self._address} did not answer {method} {path} within {seconds:g} s",
                hint="It may be overloaded or hang; look at its log.",
            ) from error
        except httpx.HTTPError as error:
            raise PeerError(
                f"the controller at {self._address} is not reachable: {words_of(error, tls=self._address.tls)}",
                hint='Start it ("pairvol controller run"), or correct its address.',
            ) from error
        if response.is_error:
            raise error_of(response.status_code, response.content, f"the controller at {self._address}")
        return response

    def _parse(self, kind: type[Answer], response: httpx.Response, path: str) -> Answer:
        try:
            return cast(Answer, reader(cast(Any, kind)).validate_json(response.content))
        except ValidationError as error:
            raise IntegrityError(
                f"the answer of the controller at {self._address} to {path} cannot be understood",
                hint="The two programs are probably of different versions.",
            ) from error

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
