"""What the host agent says and takes over HTTP: pairs, their status, and peer talk.

Shapes only. The command line and the other site's agent are the clients.
Keys are only ever added.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from controller.api.lifecycle import Dropped, Orphan
from controller.api.models import (
    ChangedRegions,
    Composition,
    Compression,
    Count,
    Failure,
    GroupVolume,
    InitialCopyMethod,
    JournalState,
    Limit,
    Links,
    Name,
    OnFull,
    Role,
    Shape,
)
from hostagent.api.host import HostFacts


class PairState(StrEnum):
    """States of a pair, with the codes operators know."""

    SMPL = "SMPL"
    COPY = "COPY"
    PAIR = "PAIR"
    PSUS = "PSUS"
    PFUL = "PFUL"
    PFUS = "PFUS"
    PSUE = "PSUE"
    SSWS = "SSWS"

    @property
    def number(self) -> int:
        """Stable number for metrics."""
        return list(PairState).index(self)


class Verdict(StrEnum):
    OK = "OK"
    WARN = "WARN"
    CRIT = "CRIT"


class Trigger(StrEnum):
    """What starts a journal copy."""

    NOTIFICATION = "notification"
    SCHEDULE = "schedule"
    FILL = "fill"
    COMMAND = "command"


class SiteVolumes(Shape):
    site: Name
    volumes: Annotated[list[Name], Field(min_length=1, max_length=64)]


class PairPolicy(Shape):
    trigger: Trigger = Trigger.NOTIFICATION
    schedule_seconds: Annotated[float, Field(gt=0)] = 60.0
    fill_percent: Annotated[float, Field(gt=0, lt=100)] = 50.0
    restore: Literal["at_once", "later"] = "at_once"
    purge: Literal["at_once", "command"] = "at_once"
    resync: Literal["auto", "command"] = "auto"  # after a full journal
    on_full: OnFull = OnFull.SUSPEND
    limit_bytes_per_second: Limit | None = None  # of the transfer; None: no limit
    limit_serial: Count = 0  # how often that was changed; the higher of two records says it
    compression: Compression = Compression.NONE  # of the transfer
    compression_serial: Count = 0  # as with the limit


class PairCreate(Shape):
    """The pair generation command; either site's agent takes it."""

    group: Name
    primary: SiteVolumes
    secondary: SiteVolumes
    journal_bytes: Annotated[int, Field(gt=0)] | None = None
    journal_volumes: list[Name] = Field(default_factory=list)
    secondary_journal_bytes: Annotated[int, Field(gt=0)] | None = None
    secondary_journal_volumes: list[Name] = Field(default_factory=list)
    journal_visible: bool = False
    initial_copy: InitialCopyMethod = InitialCopyMethod.DIRECT
    policy: PairPolicy = Field(default_factory=PairPolicy)


class PairSet(Shape):
    """What may change of a pair that is made."""

    limit_bytes_per_second: Limit | None


class PairCompress(Shape):
    """Another compression for a pair that is made."""

    compression: Compression


class Pair(Shape):
    """What an agent keeps durably about a pair (the device group)."""

    group: Name
    uuid: str
    generation: int
    primary: SiteVolumes
    secondary: SiteVolumes
    initial_copy: InitialCopyMethod
    policy: PairPolicy
    taken_over: bool = False  # the secondary site serves the volumes
    planned_generation: int | None = None  # of a takeover of this site that loses nothing, once that is certain
    # How often its direction was decided anew; the higher of two records of one pair is the newer. Of two that were
    # decided at once, for one site each, it is the one of the higher generation.
    turns: Count = 0
    handed_ns: Count | None = None  # when a planned takeover made the primary what it is; None: nothing of the kind did
    created_ns: Count


class PairSide(Shape):
    """One end of a pair as a row of status."""

    side: str  # P-VOL or S-VOL
    site: Name
    volumes: list[Name]
    state: PairState | None  # None: unknown
    sequence: Count | None
    journal_percent: float | None
    journal_bytes: Count | None
    copy_percent: float | None
    lag_seconds: float | None
    lag_bytes: Count | None
    unknown_since_ns: Count | None = None
    failure: Failure | None = None
    changed_bytes: Count | None = None  # in regions that changed here and are not at the other side
    orphan_tails: Count | None = None  # kept from earlier lives as primary


class PairStatus(Shape):
    """Answer to "am I protected?"; `line` is the first line without its verdict."""

    group: Name
    verdict: Verdict
    state: PairState
    number: int
    line: str
    cause: str | None = None
    next_command: str | None = None
    lag_seconds: float | None = None  # None: not known, or more is missing than journals and changed regions
    lag_seconds_min: float | None = None  # it is at least this; told also when only so much is known
    lag_bytes: Count | None = None
    last_restored_ns: Count | None = None  # None also while the secondary is unknown, as all that it tells
    last_contact_ns: Count | None = None
    generation: int
    sides: list[PairSide]
    limit_bytes_per_second: Count | None = None  # of the transfer; None: no limit
    compression: Compression = Compression.NONE  # of the transfer, as ordered
    compression_now: Compression | None = None  # as the secondary reads; None: not known
    transfer_bytes: Count | None = None  # read by the secondary since its controller started
    wire_bytes: Count | None = None  # and what crossed the wire for it
    seconds_to_full: float | None = None  # of the primary's journal, at the present rate; None: not, or not known


class TakeoverOrder(Shape):
    force: bool = False
    to: Name | None = None  # the site that is to serve; refused when that is not the pair's secondary
    named: bool = True  # False: nobody said which site; refused shortly after another takeover, which it may repeat


class PairSplit(Shape):
    """Stop replication in a consistent state; hosts may use the SVOL."""

    writable: bool = False
    force: bool = False  # also with hosts connected to the SVOL


class PairResync(Shape):
    """Bring a pair back in step by what differs; after a takeover in its old direction, or with `swap` in the other."""

    swap: bool = False
    force: bool = False  # drop what only the site that follows has; or disconnect hosts from a split SVOL


class TakeoverReport(Shape):
    group: Name
    kind: str  # planned or forced; none: that site was the primary already
    generation: int
    restored_sequence: Count
    restored_time_ns: Count
    journals_restored: Count
    missing_journals: Count | None  # known at the primary and not here; None: cannot be known
    missing_bytes: Count | None
    seconds: float
    changed_bytes_missing: Count = 0  # regions that the primary changed without journals
    unjournaled: bool = False  # writes made while acquisition was stopped are missing; nobody can count them
    reversed: bool = False  # the pair runs in the other direction now
    already: bool = False  # that site was the primary before the command; nothing was done
    mounted_there: list[str] = Field(default_factory=list)  # at the old primary, where a host has its volumes mounted
    from_safe_point: bool = False  # in the middle of a resync: the volumes went back to their last consistent state
    journals_dropped: Count = 0  # that had arrived, and are of no use to that state

    @property
    def lost_nothing(self) -> bool:
        """Whether the volumes hold every write that was acknowledged."""
        gone = self.changed_bytes_missing or self.from_safe_point or self.journals_dropped
        return self.missing_journals == 0 and not gone


class DroppedAt(Dropped):
    """What was dropped at a site."""

    site: Name


class PairDeletion(Shape):
    """What ending a pair left and dropped."""

    group: Name
    dropped: list[DroppedAt]  # only by force
    left: Name | None = None  # a site that did not answer, and keeps its side


class JournalCommand(Shape):
    to_sequence: Count | None = None
    force: bool = False  # start: although the other site, which was to take over, does not answer


class JournalSides(Shape):
    """Both journals of a pair; a side that does not answer now is None."""

    primary: JournalState | None
    secondary: JournalState | None


class JournalFiles(Shape):
    """Where a site keeps the journals of a group: the one in use, and tails of earlier lives as primary."""

    journal_path: str
    orphans: list[Orphan]


class AttachOrder(Shape):
    volume: Name
    readonly: bool = False
    uri_only: bool = False


class Attachment(Shape):
    volume: Name
    device: str | None  # /dev/nbd3, /dev/loop7; None when only the address was asked for
    uri: str
    method: str  # nbd, nbdfuse, uri
    facts: dict[str, Any] = Field(default_factory=dict)


class PeerContact(Shape):
    site: Name
    agent: str
    ok: bool
    last_contact_ns: Count
    failure: str | None = None


class AgentInfo(Shape):
    site: Name
    version: str
    time_ns: Count
    controller_ok: bool
    peers: list[PeerContact]
    controller_failure: str | None = None
    host: HostFacts | None = None


class PeerHello(Shape):
    """Who answers at a peer's address."""

    site: Name
    version: str


class SideOrder(Shape):
    """One agent to the other: your side of this pair, to check or to make."""

    pair: Pair
    volumes: list[GroupVolume]  # of that side; sizes 0 while only the primary can know them
    journal_bytes: Count | None = None
    journal_volumes: list[Name] = Field(default_factory=list)
    journal_visible: bool = False


class SideReport(Shape):
    """What a site has of a pair: its own record, its journal group, its volumes that exist."""

    site: Name
    pair: Pair | None
    group_uuid: str | None
    group_role: Role | None
    volumes: list[GroupVolume]
    begun: bool = False  # a secondary that has been copied to: no half of a command that was cut short


class Said(Shape):
    """What an agent says of its side of a pair."""

    site: Name
    state: JournalState | None  # of the teller's controller; None: it does not answer
    failure: Failure | None = None  # why there is no state
    composition: Composition | None = None
    links: Links | None = None
    generation_known: int = 0
    regions: ChangedRegions | None = None  # of the primary, until the secondary has taken them up
    host: str = ""  # the agent that says this
    stands_in: bool = False  # it speaks for a site whose own agent is silent
    drives: bool = True  # its orders are the ones that count there
    refusal: Failure | None = None  # of its orders to its controller: what a disk there refuses
    divided_generation: Count = 0  # of the newest takeover after which the old primary was seen to serve on


class Exchange(Said):
    """What one agent tells the other at every beat about one pair (FIG. 6, 6110 and 6340)."""

    pair: Pair


class ExchangeAnswer(Said):
    """The other's word; it may not know the pair."""

    pair: Pair | None
