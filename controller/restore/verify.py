"""Whether records and their data may be used: nothing reaches a volume that fails here.

Checks and names, decides nothing, writes nothing. The copy program asks before
it publishes what it pulled, the restore program again before it touches a
volume: journals may lie for hours between the two. Compiled loops say how many
are right; what is wrong with the next, the plain checks here find and name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from typing_extensions import Buffer

from controller.checksum import crc32c
from controller.journal.kinds import MARKER
from controller.journal.layout import (
    BLOCK_BYTES,
    DATA_BYTES_MAX,
    MARKER_BYTES_MAX,
    Flag,
    Kind,
    Records,
    records_valid,
)
from controller.journal.markers import is_marker
from controller.journal.pointers import Position
from controller.journal.volume import JournalVolume

VOLUMES_MAX: Final = 64
DATA_BLOCKS_MAX: Final = DATA_BYTES_MAX // BLOCK_BYTES
MARKER_BLOCKS_MAX: Final = MARKER_BYTES_MAX // BLOCK_BYTES
_KINDS: Final = tuple(int(kind) for kind in Kind)
_FLAGS: Final = (0, int(Flag.ZERO), int(Flag.TRIM), int(Flag.ZERO | Flag.TRIM))

Damage = str
Passed = npt.NDArray[np.bool_]
Limits = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Expectation:
    """What every record of a group must agree with. `volume_blocks`: length of each volume by its index."""

    tag: int
    generation_min: int
    generation_max: int
    volume_blocks: Mapping[int, int]


def check_records(records: Records, after: Position, expected: Expectation) -> tuple[int, Damage]:
    """How many records from the first on are right, and in words what is wrong with the next.

    They must be the ones that follow `after`. Their data is not looked at.
    """
    if quickly_right(records, after, expected) == len(records):
        return len(records), ""
    good, words = len(records), ""
    for passed, describe in _checks(records, after, expected):
        failed = np.flatnonzero(~passed[:good])
        if len(failed):
            good = int(failed[0])
            words = describe(records[good])
    return good, f"record {after.sequence + 1 + good} {words}" if words else ""


def quickly_right(records: Records, after: Position, expected: Expectation) -> int:
    """How many are right as far as the compiled loop goes: those before the first that is wrong, or none."""
    low, high, limits = expected.generation_min, expected.generation_max, _limits(expected.volume_blocks)
    whole = np.ascontiguousarray(records)
    return right_records(whole, after.sequence + 1, after.data_position, expected.tag, low, high, limits)


def _checks(records: Records, after: Position, expected: Expectation) -> list[tuple[Passed, Callable[[Any], str]]]:
    """Each check with the words for its first failure; the earlier explains more than the later."""
    sequences = np.arange(after.sequence + 1, after.sequence + 1 + len(records), dtype=np.uint64)
    ends = records["data_position"] + records["data_blocks"]
    starts = np.concatenate((np.asarray([after.data_position], dtype=np.uint64), ends[:-1]))[: len(records)]
    low, high = expected.generation_min, expected.generation_max
    marker = records["kind"] == MARKER
    limits = _limits(expected.volume_blocks)[np.minimum(records["volume"], VOLUMES_MAX)]
    count = records["block_count"].astype(np.int64)
    first = records["volume_lba"]
    return [
        (records_valid(records), lambda record: "fails its checksum"),
        (records["sequence"] == sequences, lambda record: f"is missing: its slot holds record {record['sequence']}"),
        (records["group_tag"] == expected.tag, lambda record: "belongs to another group"),
        (records["generation"] >= low, lambda record: f"is of generation {record['generation']}, lower than {low}"),
        (records["generation"] <= high, lambda record: f"is of generation {record['generation']}, higher than {high}"),
        (
            records["data_position"] == starts,
            lambda record: f"has data at {record['data_position']}, not where the data before it ends",
        ),
        (np.isin(records["kind"], _KINDS), lambda record: f"is of unknown kind {record['kind']}"),
        (np.isin(records["flags"], _FLAGS), lambda record: f"has unknown flags {record['flags']}"),
        (marker | (limits >= 0), lambda record: f"speaks of volume {record['volume']}, which the group does not have"),
        (
            marker | ((first <= limits.astype(np.uint64)) & (count <= limits - first.astype(np.int64))),
            lambda record: f"lies outside volume {record['volume']}: block {record['volume_lba']}",
        ),
        (
            _lengths_agree(records, marker),
            lambda record: f"has {record['data_blocks']} blocks of data for {record['block_count']} of the volume",
        ),
        (
            records["data_blocks"] <= np.where(marker, MARKER_BLOCKS_MAX, DATA_BLOCKS_MAX),
            lambda record: f"has {record['data_blocks']} blocks of data, more than one of its kind may have",
        ),
    ]


def _limits(volume_blocks: Mapping[int, int]) -> Limits:
    """The length in blocks of each volume by its index; -1 for one that the group does not have, as the last is."""
    table = np.full(VOLUMES_MAX + 1, -1, dtype=np.int64)
    for volume, blocks in volume_blocks.items():
        table[volume] = blocks
    return table


def _lengths_agree(records: Records, marker: Passed) -> Passed:
    """Data as long as the write, none for zero and trim; a marker has no place on a volume."""
    clear = records["flags"] != 0
    blocks, data = records["block_count"], records["data_blocks"]
    return np.asarray(np.where(marker, (blocks == 0) & ~clear, np.where(clear, data == 0, data == blocks)))


def check_data(journal: JournalVolume, records: Records) -> tuple[int, Damage]:
    """The same for the data of records that passed `check_records`, as it lies in `journal`."""
    if not len(records):
        return 0, ""
    begin = int(records[0]["data_position"])
    blocks = int(records[-1]["data_position"]) + int(records[-1]["data_blocks"]) - begin
    journal.fetch(begin, blocks)
    return check_bytes(records, journal.data_views(begin, blocks))


def check_bytes(records: Records, views: Sequence[memoryview]) -> tuple[int, Damage]:
    """The same for data that lies in one view or two, beginning with the first record's."""
    if not len(records):
        return 0, ""
    starts = ((records["data_position"] - records[0]["data_position"]) * np.uint64(BLOCK_BYTES)).astype(np.int64)
    lengths = records["data_blocks"].astype(np.int64) * BLOCK_BYTES
    stored = np.ascontiguousarray(records["data_crc"])
    right = right_sums(views[0], starts, lengths, stored)
    good, damage = _check_sums(records, right, starts, lengths, views)
    for at in np.flatnonzero(records["kind"][:good] == MARKER).tolist():
        if not is_marker(b"".join(_parts(views, int(starts[at]), int(starts[at] + lengths[at])))):
            return at, f"record {records[at]['sequence']} is a marker whose data cannot be read as one"
    return good, damage


def no_sums(
    data: Buffer, start: npt.NDArray[np.int64], length: npt.NDArray[np.int64], stored: npt.NDArray[np.uint32]
) -> int:
    """How many ranges of bytes from the first on were found right: none, all are looked at in plain Python."""
    return 0


def no_records(records: Records, sequence: int, position: int, tag: int, low: int, high: int, limits: Limits) -> int:
    """How many records from the first on were found right: none, all are looked at in plain Python."""
    return 0


try:
    from controller.journal._hot import right_records, right_sums
except ImportError:  # not built
    right_records, right_sums = no_records, no_sums


def _check_sums(
    records: Records,
    right: int,
    starts: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    views: Sequence[memoryview],
) -> tuple[int, Damage]:
    """The same for checksums, those of the first `right` records left out."""
    checksum, head = crc32c, views[0]
    rest = zip(starts[right:].tolist(), lengths[right:].tolist(), records["data_crc"][right:].tolist(), strict=True)
    for index, (start, length, stored) in enumerate(rest, right):
        stop = start + length
        if stop <= len(head):
            found = checksum(head[start:stop])
        else:  # beyond the end of the data area, or around it
            found = 0
            for part in _parts(views, start, stop):
                found = checksum(part, found)
        if found != stored:
            return index, f"the data of record {int(records[index]['sequence'])} fails its checksum"
    return len(records), ""


def _parts(views: Sequence[memoryview], start: int, stop: int) -> Iterator[memoryview]:
    """A range of bytes that lie in views one behind the other."""
    for view in views:
        yield view[max(0, start) : max(0, stop)]
        start, stop = start - len(view), stop - len(view)
