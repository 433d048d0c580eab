"""What the storage controller says and takes over HTTP: the control link's contract.

Only shapes live here. Sizes end in their unit; times are UTC nanoseconds
(`time_ns`); sequences count journals from 1; data positions count 512-byte
blocks since the journal began and never wrap. Keys are only ever added.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from controller.api.runs import RunState as RunState
from controller.api.runs import VerifyState as VerifyState
from controller.api.shape import Count as Count
from controller.api.shape import Failure as Failure
from controller.api.shape import Name as Name
from controller.api.shape import Shape as Shape
from controller.api.words import AcquisitionMode as AcquisitionMode
from controller.api.words import Compression as Compression
from controller.api.words import CopyMode as CopyMode
from controller.api.words import CopyState as CopyState
from controller.api.words import InitialCopyMethod as InitialCopyMethod
from controller.api.words import OnFull as OnFull
from controller.api.words import RestoreMode as RestoreMode
from controller.api.words import Role as Role
from controller.api.words import ServerState as ServerState
from controller.api.words import SplitMode as SplitMode
from controller.api.words import SuspendedCause as SuspendedCause


class Problem(Shape):
    """The body of every error answer (application/problem+json)."""

    error: str  # class name in controller/errors.py
    message: str
    hint: str = ""
    facts: dict[str, Any] = Field(default_factory=dict)


class Position(Shape):
    """A place in the journal: everything up to and with `sequence` is behind it."""

    sequence: Count = 0
    data_position: Count = 0  # blocks, exclusive end of that journal's data
    time_ns: Count = 0  # the time in that journal's record; 0 when there is none


class SiteInfo(Shape):
    site: Name
    version: str
    time_ns: Count
    volumes: Count
    groups: Count


class PoolAdd(Shape):
    """Put an unused volume at the disposal of journals: an existing path, or a size to create."""

    name: Name
    path: str | None = None
    size_bytes: Count | None = None


class PoolVolume(Shape):
    name: Name
    path: str
    size_bytes: Count


class VolumeCreate(Shape):
    name: Name
    size_bytes: Annotated[int, Field(gt=0)]
    backing: str | None = None  # path of a file or block device; None: a sparse file of ours


class Volume(Shape):
    name: Name
    uuid: str
    size_bytes: Count
    backing: str
    group: Name | None = None
    role: Role | None = None  # of its group; None outside any group
    writable: bool = True
    uri: str | None = None  # nbd+unix:///NAME?socket=PATH; None when not served
    server: ServerState = ServerState.STOPPED
    failure: str | None = None


class GroupVolume(Shape):
    """One data volume of a group; `index` is what journal records carry."""

    index: Annotated[int, Field(ge=0, le=63)]
    name: Name  # the volume's name on this appliance
    size_bytes: Count


class GroupCreate(Shape):
    """Define a journal group here. Volumes of a secondary that do not exist are created."""

    name: Name
    uuid: str
    role: Role
    generation: Annotated[int, Field(ge=1)] = 1
    peer_site: Name
    volumes: Annotated[list[GroupVolume], Field(min_length=1, max_length=64)]
    journal_bytes: Count | None = None
    journal_volumes: list[Name] = Field(default_factory=list)  # pool volumes by name
    journal_visible: bool = False
    on_full: OnFull = OnFull.SUSPEND


class Segment(Shape):
    """A run of a journal's data on one of its volumes."""

    member: Count
    head_lba: Count
    block_count: Count


class Composition(Shape):
    """Where the areas of a journal volume lie (journal group composition command)."""

    journal_uuid: str
    block_bytes: Count = 512
    record_bytes: Count = 64
    metadata_head_lba: Count
    metadata_block_count: Count
    data_head_lba: Count
    data_block_count: Count
    segments: list[Segment] = Field(default_factory=list)  # of the data, in order; empty: all on one volume


class Links(Shape):
    """NBD addresses (TCP) at which the other site reads this group."""

    journal_uri: str  # the whole journal volume, read-only
    pointers_uri: str  # the 4 KiB pointer page, read-only
    member_uris: list[str] = Field(default_factory=list)  # of the journal's further volumes
    volume_uris: dict[str, str]  # by volume index as a string: PVOLs, read-only
    relay: str | None = (
        None  # HOST:PORT at which all of it is read compressed (controller/relay/WIRE.md); None: nowhere
    )


class Group(Shape):
    name: Name
    uuid: str
    role: Role
    generation: int
    peer_site: Name
    volumes: list[GroupVolume]
    journal_path: str
    journal_bytes: Count
    journal_visible: bool
    journal_export: str | None = None  # read-only NBD address for hosts; None when hidden
    composition: Composition
    links: Links | None = None  # None while the journal server is down
    acquisition: bool
    ready: bool = True  # False in the middle of a command of several steps, which goes on
    free_indices: list[int] = Field(default_factory=list)  # that a volume which joins may get
    retired: dict[int, int] = Field(default_factory=dict)  # index: newest journal that may speak of a volume that left


class InitialCopy(Shape):
    state: CopyState = CopyState.NONE
    bytes_done: Count = 0
    bytes_total: Count = 0
    bytes_copied: Count = 0  # that really crossed the link: holes do not
    gap_sequence: Count | None = None  # of the order that it obeys
    method: str | None = None  # of that order
    epoch: str | None = None  # of the changed regions that it brings over
    pending: bool = False  # a differential copy waits until restore reached its sequence
    run: str | None = None  # the primary's in-band run that this copy waits for
    failure: Failure | None = None


class SafePoint(Shape):
    """The way back of a secondary whose volumes are being copied over: its last consistent state."""

    open: bool = False
    sequence: Count = 0
    time_ns: Count = 0  # of that journal
    bytes: Count = 0  # saved so far


class JournalState(Shape):
    """Answer of the journal-creation-state command."""

    group: Name
    uuid: str
    role: Role
    generation: int
    time_ns: Count  # of this answer, the answering site's clock
    steady_seconds: float | None = None  # of this answer, by a clock that nobody sets: since its machine started
    boot: str | None = None  # names that start
    mode: AcquisitionMode
    acquisition: bool
    on_full: OnFull = OnFull.SUSPEND
    gap_sequence: Count | None = None  # acquisition was off just before this journal: copy anew from there
    pointers: dict[str, Position]  # keys: names in controller/journal/pointers.py
    records_used: Count
    records_capacity: Count
    data_used_bytes: Count
    data_capacity_bytes: Count
    fill_percent: float
    initial_copy: InitialCopy = Field(default_factory=InitialCopy)
    consistent_sequence: Count | None = None  # SVOL is a prefix of the PVOL from here on
    copy_order_active: bool = False
    link_ok: bool | None = None  # data link, as this side last saw it
    link_contact_ns: Count = 0  # last good read over the data link
    link_silent_seconds: float | None = None  # since that, by a clock that is never set; None: there was none yet
    checksum_errors: Count = 0  # reads of journals that failed verification and were made again, since it began
    failure: Failure | None = None
    volume_server: ServerState = ServerState.STOPPED
    journal_server: ServerState = ServerState.STOPPED
    serving: bool = False  # hosts are served (read at least) from this site's volumes
    awaits_serve: bool = False  # a returning primary: the order to serve has not come
    quiesced: bool = False  # a primary that refuses writes for a planned takeover
    yields_to: int | None = None  # that takeover's generation
    split: SplitMode = SplitMode.OFF
    epoch: str | None = None  # names the set of changed regions here, while there is one
    dirty_bytes: Count = 0  # in that set
    suspended_cause: SuspendedCause | None = None  # why there is such a set
    suspended_sequence: Count | None = None  # the set speaks of changes after this journal
    covered_sequence: Count = 0  # the set also stands for journals up to this one
    changes_final: bool = False  # the set stands still: a differential copy may bring it over
    waiting_epoch: str | None = None  # a secondary's restore waits for the differential copy of this epoch
    safe_point: SafePoint = Field(default_factory=SafePoint)
    volume_indices: list[int] = Field(default_factory=list)  # of its members
    journal_uuid: str | None = None  # of the journal volume in use; another one: the composition has changed
    orphans: Count = 0  # kept tails of earlier lives as primary
    drills: Count = 0  # open on this secondary's volumes: restore waits for their end
    run: RunState | None = None  # a primary's in-band run: the one under way, or the last one
    verify: VerifyState | None = None  # a secondary's: what the last task of verify runs found here
    limit_bytes_per_second: Count | None = None  # a secondary's: what its transfer may take
    limit_holds_back: bool = False  # and whether that made it wait just now
    compression: Compression = Compression.NONE  # a primary's: as ordered; a secondary's: as it reads now
    transfer_bytes: Count = 0  # a secondary's: read from the other site since its controller started
    wire_bytes: Count = 0  # and what crossed the wire for it
    restore_end: Count | None = None  # a secondary's restore was told to stand at this journal for a while
    driver: Name | None = None  # the host agent that drives this group; None when none has a lease
    append_records_per_second: float = 0.0  # exponential averages
    append_bytes_per_second: float = 0.0
    seconds_to_full: float | None = None  # at the present rate; None: it does not fill


class CopySource(Shape):
    """Everything a secondary needs to read a primary's journal."""

    site: Name
    uuid: str
    generation: int
    composition: Composition
    links: Links


Limit = Annotated[int, Field(ge=64 << 10)]
"""Bytes a second that the transfer of a group may take."""


class CopyOrder(Shape):
    """The journal copy request command."""

    source: CopySource
    mode: CopyMode = CopyMode.FOLLOW
    to_sequence: Count | None = None
    lease_seconds: Annotated[float, Field(gt=0, le=3600)] = 10.0
    restore: RestoreMode = RestoreMode.AT_ONCE
    limit_bytes_per_second: Limit | None = None  # for all that the group transfers; None: no limit


class ChangedRegions(Shape):
    """A set of regions by volume: base64 of packed bits, lowest first; bit n is bytes n * region_bytes and on."""

    epoch: str
    region_bytes: Count
    sequence: Count  # the changes were made after this journal
    covered_sequence: Count = 0  # the set also stands for journals up to this one
    volumes: dict[str, str]


class InitialCopyOrder(Shape):
    source: CopySource
    regions: ChangedRegions | None = None  # of a differential copy
    method: InitialCopyMethod = InitialCopyMethod.DIRECT
    gap_sequence: Count | None = None  # the primary's; another one than before begins the copy anew
    limit_bytes_per_second: Limit | None = None  # as in a copy order


class CompressionOrder(Shape):
    """How the other site may read this primary."""

    compression: Compression


class AcquisitionOrder(Shape):
    on: bool


class RestoreRequest(Shape):
    to_sequence: Count | None = None  # None: everything already read


class PurgeRequest(Shape):
    """`reader` (a site) has everything up to `to_sequence` durably; the primary may free it."""

    reader: Name
    to_sequence: Count


class TakeoverRequest(Shape):
    generation: Annotated[int, Field(ge=2)]
    force: bool = False


class TakeoverResult(Shape):
    generation: int
    restored: Position
    journals_restored: Count  # applied by this takeover
    seconds: float
    from_safe_point: bool = False  # in the middle of a resync: the volumes went back to their last consistent state
    journals_dropped: Count = 0  # that were here, and are of no use to that state


class FenceRequest(Shape):
    """A higher generation exists: stop serving writes, keep everything."""

    generation: int
    reason: str


class Event(Shape):
    number: Count
    time_ns: Count
    level: str  # info, warning, error
    name: str  # stable dotted name, e.g. group.takeover
    message: str
    group: str | None = None
    site: str | None = None
    facts: dict[str, Any] = Field(default_factory=dict)
