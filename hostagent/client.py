"""A host agent as seen from outside: one method for each of its endpoints.

Owns paths, shapes and deadlines of the requests. Must not know what is shown
to a person. Every method raises the errors of `controller/errors.py`: those
that the agent answered, and PeerError when it does not answer in time.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Final, Self

from controller.api.lifecycle import Orphan
from controller.api.models import Compression, Event, JournalState, PoolAdd, PoolVolume, Volume, VolumeCreate
from controller.api.shape import NAME, NAME_HINT
from controller.errors import PeerError, UsageError
from controller.tls import Certificates
from hostagent.api.drills import DrillLedger, DrillOrder, DrillReport, MarkerPut, MarkerSides, PutMarker
from hostagent.api.history import PairHistory
from hostagent.api.models import (
    AgentInfo,
    Attachment,
    AttachOrder,
    JournalCommand,
    JournalFiles,
    JournalSides,
    Pair,
    PairCompress,
    PairCreate,
    PairDeletion,
    PairResync,
    PairSet,
    PairSplit,
    PairStatus,
    TakeoverOrder,
    TakeoverReport,
)
from hostagent.api.verify import VerifyOrder, VerifyReport
from hostagent.api.volumes import JournalSize, JournalSizes, PairMembers, PairRemove, VolumeSize, VolumeSizes
from hostagent.transport import Channel

DEFAULT_ADDRESS: Final = "unix:/run/pairvol/agent.sock"
ADDRESS_VARIABLE: Final = "PAIRVOL_AGENT"
ASK_SECONDS: Final = 10.0  # an agent asks its peer, with a deadline of its own, before it answers
ORDER_SECONDS: Final = 120.0  # journals are allocated, devices attached
TAKEOVER_SECONDS: Final = 3600.0  # what is in the local journal is restored first


def resolve_address(address: str | None = None) -> str:
    """The given address, else PAIRVOL_AGENT, else the socket of the system's agent.

    `http://127.0.0.1:PORT` and `unix:/path` are taken as they are;
    `127.0.0.1:PORT` means the first, a path the second.
    """
    chosen = address or os.environ.get(ADDRESS_VARIABLE) or DEFAULT_ADDRESS
    if chosen.startswith("/"):
        return f"unix:{chosen}"
    return chosen if chosen.startswith(("unix:", "http://", "https://")) else f"http://{chosen}"


def part(text: str) -> str:
    """A name as part of a path; UsageError for what nothing can be called, so that no path is made of it."""
    if NAME.fullmatch(text) is None:
        raise UsageError(f"{text!r} is not a name", hint=NAME_HINT)
    return text


class Agent:
    """One agent; close it, or use it as a context."""

    def __init__(self, address: str | None = None, certificates: Certificates | None = None) -> None:
        self.address = resolve_address(address)
        self._channel = Channel(self.address, "the host agent", request_seconds=ASK_SECONDS, certificates=certificates)

    # -- the agent itself ------------------------------------------------------

    def info(self) -> AgentInfo:
        """GET /agent"""
        return self._channel.call(AgentInfo, "GET", "/agent")

    def events(self, after: int = 0, wait: float = 0.0) -> list[Event]:
        """GET /events: those numbered above `after`; waits up to `wait` seconds for the first one."""
        query = {"after": after, "wait": wait}
        return self._channel.call(list[Event], "GET", "/events", query=query, seconds=wait + ASK_SECONDS)

    # -- pool and volumes of its site -------------------------------------------

    def pool(self) -> list[PoolVolume]:
        """GET /pool"""
        return self._channel.call(list[PoolVolume], "GET", "/pool")

    def add_to_pool(self, order: PoolAdd) -> PoolVolume:
        """POST /pool"""
        return self._channel.call(PoolVolume, "POST", "/pool", body=order, seconds=ORDER_SECONDS)

    def remove_from_pool(self, name: str) -> None:
        """DELETE /pool/{name}"""
        self._channel.send("DELETE", f"/pool/{part(name)}", seconds=ORDER_SECONDS)

    def volumes(self) -> list[Volume]:
        """GET /volumes"""
        return self._channel.call(list[Volume], "GET", "/volumes")

    def volume(self, name: str) -> Volume:
        """GET /volumes/{name}"""
        return self._channel.call(Volume, "GET", f"/volumes/{part(name)}")

    def create_volume(self, order: VolumeCreate) -> Volume:
        """POST /volumes"""
        return self._channel.call(Volume, "POST", "/volumes", body=order, seconds=ORDER_SECONDS)

    def delete_volume(self, name: str) -> None:
        """DELETE /volumes/{name}"""
        self._channel.send("DELETE", f"/volumes/{part(name)}", seconds=ORDER_SECONDS)

    def resize_volume(self, name: str, size_bytes: int) -> VolumeSizes:
        """POST /volumes/{name}/resize: larger, at both sites when it is paired."""
        path, order = f"/volumes/{part(name)}/resize", VolumeSize(size_bytes=size_bytes)
        return self._channel.call(VolumeSizes, "POST", path, body=order, seconds=TAKEOVER_SECONDS)

    # -- block devices ------------------------------------------------------------

    def attach(self, order: AttachOrder, on: str | None = None) -> Attachment:
        """POST /volumes/{name}/attach, at host `on`; one that is attached already answers with what there is."""
        path, query = f"/volumes/{part(order.volume)}/attach", {"on": on}
        return self._channel.call(Attachment, "POST", path, body=order, query=query, seconds=ORDER_SECONDS)

    def detach(self, volume: str, on: str | None = None) -> None:
        """DELETE /volumes/{name}/attach, at host `on`"""
        self._channel.send("DELETE", f"/volumes/{part(volume)}/attach", query={"on": on}, seconds=ORDER_SECONDS)

    def attachments(self) -> list[Attachment]:
        """GET /attachments"""
        return self._channel.call(list[Attachment], "GET", "/attachments")

    # -- pairs ----------------------------------------------------------------------

    def pairs(self) -> list[Pair]:
        """GET /pairs"""
        return self._channel.call(list[Pair], "GET", "/pairs")

    def create_pair(self, order: PairCreate) -> PairStatus:
        """POST /pairs: the pair generation command; either site's agent takes it."""
        return self._channel.call(PairStatus, "POST", "/pairs", body=order, seconds=ORDER_SECONDS)

    def pair_status(self, group: str) -> PairStatus:
        """GET /pairs/{group}/status"""
        return self._channel.call(PairStatus, "GET", f"/pairs/{part(group)}/status")

    def pair_statuses(self) -> list[PairStatus]:
        """GET /pairs/status: of every pair this agent knows."""
        return self._channel.call(list[PairStatus], "GET", "/pairs/status")

    def pair_history(self, group: str, since_ns: int = 0) -> PairHistory:
        """GET /pairs/{group}/history: states, lag, takeovers and drills since a moment, as that agent saw them."""
        return self._channel.call(PairHistory, "GET", f"/pairs/{part(group)}/history", query={"since_ns": since_ns})

    def take_over(
        self, group: str, force: bool = False, to: str | None = None, *, named: bool = True
    ) -> TakeoverReport:
        """POST /pairs/{group}/takeover; either site's agent takes it. See `hostagent/commands/takeover.py`."""
        return self._channel.call(
            TakeoverReport,
            "POST",
            f"/pairs/{part(group)}/takeover",
            body=TakeoverOrder(force=force, to=to, named=named),
            seconds=TAKEOVER_SECONDS,
        )

    def delete_pair(self, group: str, force: bool = False) -> PairDeletion:
        """DELETE /pairs/{group}; `force`: this site alone when the other does not answer, and what is only here."""
        path, query = f"/pairs/{part(group)}", {"force": force}
        return self._channel.call(PairDeletion, "DELETE", path, query=query, seconds=TAKEOVER_SECONDS)

    def split_pair(self, group: str, order: PairSplit | None = None) -> PairStatus:
        """POST /pairs/{group}/split"""
        path = f"/pairs/{part(group)}/split"
        return self._channel.call(PairStatus, "POST", path, body=order or PairSplit(), seconds=ORDER_SECONDS)

    def resync_pair(self, group: str, order: PairResync | None = None) -> PairStatus:
        """POST /pairs/{group}/resync; with `swap` in the other direction."""
        path = f"/pairs/{part(group)}/resync"
        return self._channel.call(PairStatus, "POST", path, body=order or PairResync(), seconds=ORDER_SECONDS)

    def verify_pair(self, group: str, repair: bool = False, *, cancel: bool = False) -> VerifyReport:
        """POST /pairs/{group}/verify; either site's agent takes it. It goes on by itself; `cancel` ends it."""
        path = f"/pairs/{part(group)}/verify"
        return self._channel.call(
            VerifyReport, "POST", path, body=VerifyOrder(repair=repair, cancel=cancel), seconds=ORDER_SECONDS
        )

    def verify_report(self, group: str) -> VerifyReport:
        """GET /pairs/{group}/verify: how it stands, or how the last one ended."""
        return self._channel.call(VerifyReport, "GET", f"/pairs/{part(group)}/verify")

    def add_volumes(self, group: str, primary: list[str], secondary: list[str]) -> PairStatus:
        """POST /pairs/{group}/add: volumes join a living pair."""
        order = PairMembers(primary=primary, secondary=secondary)
        return self._channel.call(PairStatus, "POST", f"/pairs/{part(group)}/add", body=order, seconds=ORDER_SECONDS)

    def remove_volumes(self, group: str, volumes: list[str]) -> PairStatus:
        """POST /pairs/{group}/remove: volumes leave a living pair."""
        order = PairRemove(volumes=volumes)
        return self._channel.call(PairStatus, "POST", f"/pairs/{part(group)}/remove", body=order, seconds=ORDER_SECONDS)

    def set_pair(self, group: str, limit_bytes_per_second: int | None) -> PairStatus:
        """POST /pairs/{group}/set: another bandwidth limit; either site's agent takes it."""
        order = PairSet(limit_bytes_per_second=limit_bytes_per_second)
        return self._channel.call(PairStatus, "POST", f"/pairs/{part(group)}/set", body=order, seconds=ORDER_SECONDS)

    def compress_pair(self, group: str, compression: Compression) -> PairStatus:
        """POST /pairs/{group}/compress: another compression of the transfer; either site's agent takes it."""
        order = PairCompress(compression=compression)
        return self._channel.call(
            PairStatus, "POST", f"/pairs/{part(group)}/compress", body=order, seconds=ORDER_SECONDS
        )

    # -- journals ----------------------------------------------------------------------

    def journal(self, group: str) -> JournalSides:
        """GET /journals/{group}: both sides; one that does not answer is None."""
        return self._channel.call(JournalSides, "GET", f"/journals/{part(group)}")

    def journal_files(self, group: str) -> JournalFiles:
        """GET /journals/{group}/files: where that agent's site keeps them."""
        return self._channel.call(JournalFiles, "GET", f"/journals/{part(group)}/files")

    def drop_orphan(self, group: str, orphan: str, force: bool = False) -> Orphan:
        """DELETE /journals/{group}/orphans/{orphan}: a kept tail of that agent's site; `latest` is the newest."""
        path, query = f"/journals/{part(group)}/orphans/{part(orphan)}", {"force": force}
        return self._channel.call(Orphan, "DELETE", path, query=query, seconds=ORDER_SECONDS)

    def resize_journal(self, group: str, order: JournalSize) -> JournalSizes:
        """POST /journals/{group}/resize: both journals, or one side's, to another size."""
        path = f"/journals/{part(group)}/resize"
        return self._channel.call(JournalSizes, "POST", path, body=order, seconds=TAKEOVER_SECONDS)

    def start_journal(self, group: str, *, force: bool = False) -> JournalState:
        """POST /journals/{group}/start: acquisition at the primary."""
        return self._journal_command(group, "start", None, force=force)

    def stop_journal(self, group: str) -> JournalState:
        """POST /journals/{group}/stop: acquisition at the primary."""
        return self._journal_command(group, "stop", None)

    def copy_journal(self, group: str, to_sequence: int | None = None) -> JournalState:
        """POST /journals/{group}/copy: the secondary pulls up to `to_sequence` (None: all that is durable)."""
        return self._journal_command(group, "copy", to_sequence)

    def restore_journal(self, group: str, to_sequence: int | None = None) -> JournalState:
        """POST /journals/{group}/restore: the secondary restores up to `to_sequence` (None: all it has read)."""
        return self._journal_command(group, "restore", to_sequence)

    def purge_journal(self, group: str, to_sequence: int | None = None) -> JournalState:
        """POST /journals/{group}/purge: the primary frees what the secondary has, up to `to_sequence`."""
        return self._journal_command(group, "purge", to_sequence)

    def _journal_command(self, group: str, verb: str, to_sequence: int | None, *, force: bool = False) -> JournalState:
        return self._channel.call(
            JournalState,
            "POST",
            f"/journals/{part(group)}/{verb}",
            body=JournalCommand(to_sequence=to_sequence, force=force),
            seconds=ORDER_SECONDS,
        )

    # -- markers and drills ---------------------------------------------------------------

    def markers(self, group: str) -> MarkerSides:
        """GET /markers/{group}: as both sites know them; None for a site that does not answer."""
        return self._channel.call(MarkerSides, "GET", f"/markers/{part(group)}")

    def put_marker(self, group: str, name: str, *, freeze: bool = False) -> PutMarker:
        """POST /markers/{group}: behind every write acknowledged by now; durable at the primary."""
        order = MarkerPut(name=name, freeze=freeze)
        return self._channel.call(PutMarker, "POST", f"/markers/{part(group)}", body=order, seconds=ORDER_SECONDS)

    def drills(self, group: str | None = None) -> DrillLedger:
        """GET /drills: those of a group, or all, at whichever site they were."""
        return self._channel.call(DrillLedger, "GET", "/drills", query={"group": group})

    def start_drill(self, group: str, order: DrillOrder | None = None) -> DrillReport:
        """POST /drills/{group}: writable images at the secondary site; the check, if any, has run when this returns.

        The drill is confirmed by then, and stays open. One whose answer never came here ends by itself.
        """
        order = (order or DrillOrder()).model_copy(update={"confirms": True})
        seconds = ORDER_SECONDS + order.wait_seconds + order.check_seconds
        drill = self._channel.call(DrillReport, "POST", f"/drills/{part(group)}", body=order, seconds=seconds)
        try:
            return self.confirm_drill(group, drill.number)
        except PeerError as error:
            raise PeerError(
                f"drill {drill.number} of {group} was opened, and could not be confirmed: {error.message}",
                hint=f'It ends by itself in a while unless that arrived: see "pairvol drill list {group}", '
                f'end it with "pairvol drill stop {group} {drill.number}".',
                group=group,
            ) from error

    def confirm_drill(self, group: str, number: int) -> DrillReport:
        """POST /drills/{group}/{number}/confirm: keep it open until it is stopped; ConflictError when it is over."""
        path = f"/drills/{part(group)}/{number}/confirm"
        return self._channel.call(DrillReport, "POST", path, seconds=ORDER_SECONDS)

    def stop_drill(self, group: str, number: int | None = None) -> list[DrillReport]:
        """DELETE /drills/{group}: one drill, or all of a group."""
        query = {"number": number}
        return self._channel.call(
            list[DrillReport], "DELETE", f"/drills/{part(group)}", query=query, seconds=ORDER_SECONDS
        )

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
