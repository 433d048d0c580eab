"""The words of the control link: every closed set of values, and what each means."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"  # of a group, a volume, a site, a run


class Role(StrEnum):
    """What a journal group is here."""

    PRIMARY = "primary"
    SECONDARY = "secondary"
    TAKEN_OVER = "taken_over"  # was secondary; its volumes are served to hosts
    FENCED = "fenced"  # was primary; a higher generation exists elsewhere


class ServerState(StrEnum):
    RUNNING = "running"
    STOPPED = "stopped"
    FAILED = "failed"


class AcquisitionMode(StrEnum):
    """How the volume server treats host writes."""

    DIRECT = "direct"  # no journal
    JOURNAL = "journal"  # journal first
    SUSPENDED = "suspended"  # journal full or stopped: changed regions tracked
    FAILED = "failed"  # a journal or volume disk refused


class SuspendedCause(StrEnum):
    """Why a group's changes are tracked by region and not in a journal."""

    FULL = "full"  # the journal was full longer than the set time
    OPERATOR = "operator"  # split by a person
    ERROR = "error"  # the journal's disk refused
    TAKEOVER = "takeover"  # serves after a takeover, not yet promoted
    SPLIT = "split"  # a secondary that hosts write to
    DEMOTED = "demoted"  # was primary: what the new primary does not have


class SplitMode(StrEnum):
    """Whether hosts may use the volumes of a secondary; restore waits meanwhile."""

    OFF = "off"
    READ = "read"
    WRITE = "write"


class CopyState(StrEnum):
    NONE = "none"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class CopyMode(StrEnum):
    FOLLOW = "follow"  # keep pulling what becomes durable until the lease ends
    ONCE = "once"  # pull up to to_sequence, then stop


class RestoreMode(StrEnum):
    AT_ONCE = "at_once"
    LATER = "later"  # wait for a restore request


class InitialCopyMethod(StrEnum):
    DIRECT = "direct"  # the secondary reads the primary's volumes
    BASE = "base"  # by journals, in band
    NONE = "none"  # both volumes hold the same already
    DIFFERENTIAL = "differential"  # changed regions only


class OnFull(StrEnum):
    """What host writes meet as the journal fills."""

    SUSPEND = "suspend"  # nothing, until it is full; then they wait a while, and changes are tracked instead
    THROTTLE = "throttle"  # above the high-water mark they slow down, and when it is full they wait longer


class Compression(StrEnum):
    """Of what crosses the data link."""

    NONE = "none"
    ZSTD = "zstd"
