"""Orders and answers that change what a group is: shapes only. See controller/LIFECYCLE.md."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from controller.api.models import (
    ChangedRegions,
    CopySource,
    Count,
    GroupVolume,
    Limit,
    Name,
    Position,
    Shape,
    SplitMode,
    SuspendedCause,
)

Generation = Annotated[int, Field(ge=1)]


class SuspendOrder(Shape):
    """Give up journaling at a primary: host writes go on, changed regions are tracked."""

    cause: SuspendedCause = SuspendedCause.OPERATOR


class EpochOrder(Shape):
    """The secondary is consistent again: the changed regions of this epoch are copied."""

    epoch: str


class ResyncOrder(Shape):
    """Copy the changed regions to a secondary; its own changed regions are added to them."""

    source: CopySource
    regions: ChangedRegions
    gap_sequence: Count | None = None  # the primary's, as in an initial copy order
    limit_bytes_per_second: Limit | None = None  # as in a copy order


class ServeOrder(Shape):
    """Serve hosts as primary under this generation; or, with `on` false, refuse their writes for a planned takeover.

    Writes that are refused for a takeover's generation are taken again only
    by an order that names it: that takeover did not happen, and will not.
    """

    generation: Generation
    on: bool = True
    successor: Generation | None = None


class JournalResize(Shape):
    """Give a group's journal another size: a pool volume by name, as large as it is or as said; or a size."""

    size_bytes: Annotated[int, Field(gt=0)] | None = None
    journal_volumes: list[Name] = Field(default_factory=list)


class VolumeResize(Shape):
    """Make a volume larger at this site; of a member the group must be named, since its pair has two sides."""

    size_bytes: Annotated[int, Field(gt=0)]
    group: Name | None = None
    check: bool = False  # only say whether it could be done


class MembersJoin(Shape):
    """Take volumes into a living group; at a secondary those that do not exist are made."""

    volumes: Annotated[list[GroupVolume], Field(min_length=1, max_length=64)]
    check: bool = False  # only say whether it could be done


class MembersLeave(Shape):
    """Let volumes of a living group go."""

    volumes: Annotated[list[Name], Field(min_length=1, max_length=64)]
    sequence: Count | None = None  # at a secondary: when this journal is restored
    check: bool = False  # only say whether it could be done


class SplitOrder(Shape):
    """Let hosts use the volumes of a secondary, or end that."""

    mode: SplitMode
    force: bool = False  # also with clients connected


class DemoteOrder(Shape):
    """This group follows a new primary from now on."""

    generation: Generation  # the new primary's
    base: Position  # where the new primary's journal begins; it has every journal of ours up to there
    covered_sequence: Count = 0  # the new primary's changed regions stand for our journals up to this one
    peer_site: Name | None = None


class PromoteOrder(Shape):
    """Become the primary of the pair: journals are written again, for the site that was demoted."""

    generation: Generation  # a taken over group's own; a fenced group's next one
    peer_site: Name | None = None


class Orphan(Shape):
    """A tail of journals that never reached the site that took over, kept until dropped by order."""

    name: Name
    path: str
    pool: Name | None = None  # the pool volume that it lies on
    members: list[Name] = Field(default_factory=list)  # the pool volumes, when there are several
    generation: int  # under which they were written
    superseded_by: int  # the generation that the group followed from then on
    first_sequence: Count
    last_sequence: Count
    journals: Count
    data_bytes: Count
    first_time_ns: Count
    last_time_ns: Count
    kept_ns: Count  # when the group was demoted
    volumes: dict[str, str] = Field(default_factory=dict)  # index: name


class Dropped(Shape):
    """Journals that were nowhere else, and went with a group that was deleted by force."""

    what: str  # where they were: orphan, tail (of a fenced primary), secondary (not restored), primary (not applied)
    journals: Count | None  # None: their pointers could not be read
    data_bytes: Count | None


class DemoteResult(Shape):
    generation: int
    orphan: Orphan | None  # None: nothing was written here that the new primary lacks
    dirty_bytes: Count  # changed regions here, orphan tail included
