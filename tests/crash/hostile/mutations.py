"""Right journals, and everything that a broken or hostile peer may make of them.

Each mutation spoils one record of a run. Most are sealed again: the checksum
of the record is right, what it says is not.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from crc32c import crc32c

from controller.journal.layout import RECORD_DTYPE, Kind, Records
from tests.crash.hostile.oracle import RECORD, Group

U32, U64 = (1 << 32) - 1, (1 << 64) - 1
ABSURD_64 = (U64, U64 - 7, 1 << 63, (1 << 63) - 1, 1 << 48, 1 << 32)
ABSURD_32 = (U32, U32 - 7, 1 << 31, 1 << 28, 1 << 24)
MARKER_BLOCKS_MAX = 128


@dataclass
class Run:
    """Records in order with their data, and what their reader expects."""

    group: Group
    records: Records
    data: bytearray  # from group.data_position on

    def copy(self) -> Run:
        return Run(self.group, self.records.copy(), bytearray(self.data))


def seal(record: Any) -> None:
    """Give a record (a row of a record array) the checksum of what it says now."""
    record["record_crc"] = crc32c(record.tobytes()[:60])


def make_run(chooser: random.Random, group: Group, count: int, blocks_max: int = 8) -> Run:
    """`count` right records of every kind that follow the group's position, and their data."""
    records = np.zeros(count, dtype=RECORD_DTYPE)
    data = bytearray()
    for index in range(count):
        volume = chooser.choice(sorted(group.volume_blocks))
        blocks = chooser.randint(1, blocks_max)
        kind = chooser.choice((1, 1, 1, 1, 1, 2, 3))
        flags = chooser.choice((0, 0, 0, 1, 2, 3)) if kind == 1 else 0
        payload = b"" if flags else chooser.randbytes(512 * blocks)
        if kind == Kind.MARKER:
            payload = padded({"what": "named", "name": chooser.randbytes(128 * blocks).hex()})
        row = records[index]
        row["sequence"] = group.sequence + 1 + index
        row["time_ns"] = 1_000_000_000 + group.sequence + index
        row["data_position"] = group.data_position + len(data) // 512
        row["kind"], row["flags"] = kind, flags
        row["generation"], row["group_tag"] = group.generations[-1], group.tag
        row["data_blocks"], row["data_crc"] = len(payload) // 512, crc32c(payload) if payload else 0
        if kind != Kind.MARKER:
            row["volume"], row["block_count"] = volume, blocks
            row["volume_lba"] = chooser.randrange(group.volume_blocks[volume] - blocks + 1)
        seal(row)
        data += payload
    return Run(group, records, data)


def padded(content: object) -> bytes:
    """As the data of a marker: JSON, and NUL to a whole block."""
    raw = json.dumps(content).encode()
    return raw.ljust(-(-len(raw) // 512) * 512, b"\0")


Mutation = Callable[[Run, int, random.Random], None]


def flipped_bit(run: Run, at: int, chooser: random.Random) -> None:
    raw = bytearray(run.records.tobytes())
    raw[at * RECORD.size + chooser.randrange(RECORD.size)] ^= 1 << chooser.randrange(8)
    run.records = np.frombuffer(bytes(raw), RECORD_DTYPE).copy()


def torn(run: Run, at: int, chooser: random.Random) -> None:
    """Half of it is there, half is of an older record in that slot."""
    raw = bytearray(run.records.tobytes())
    cut = chooser.randrange(8, RECORD.size, 8)
    raw[at * RECORD.size + cut : (at + 1) * RECORD.size] = chooser.randbytes(RECORD.size - cut)
    run.records = np.frombuffer(bytes(raw), RECORD_DTYPE).copy()


def empty(run: Run, at: int, chooser: random.Random) -> None:
    run.records[at] = np.zeros(1, dtype=RECORD_DTYPE)[0]


def gap(run: Run, at: int, chooser: random.Random) -> None:
    run.records["sequence"][at:] += np.uint64(chooser.choice((1, 2, 7, 1000)))
    for row in run.records[at:]:
        seal(row)


def repeated(run: Run, at: int, chooser: random.Random) -> None:
    if at:
        run.records[at:] = run.records[at - 1 : -1].copy()
    else:
        gap(run, at, chooser)


def going_back(run: Run, at: int, chooser: random.Random) -> None:
    run.records[at]["sequence"] = max(0, int(run.records[at]["sequence"]) - chooser.randint(1, 1000))
    seal(run.records[at])


def swapped(run: Run, at: int, chooser: random.Random) -> None:
    other = (at + chooser.randrange(1, len(run.records))) % len(run.records)
    run.records[[at, other]] = run.records[[other, at]]


def spoiled_data(run: Run, at: int, chooser: random.Random) -> None:
    row = run.records[at]
    if row["data_blocks"]:
        start = (int(row["data_position"]) - run.group.data_position) * 512
        run.data[start + chooser.randrange(int(row["data_blocks"]) * 512)] ^= 1 << chooser.randrange(8)
    else:
        wrong_data_checksum(run, at, chooser)


def wrong_data_checksum(run: Run, at: int, chooser: random.Random) -> None:
    run.records[at]["data_crc"] ^= chooser.randint(1, U32)
    seal(run.records[at])


def field(name: str, *choices: int) -> Mutation:
    """Set one field to one of the values, and seal."""

    def mutate(run: Run, at: int, chooser: random.Random) -> None:
        run.records[at][name] = chooser.choice(choices)
        seal(run.records[at])

    mutate.__name__ = f"{name}_set"
    return mutate


def past_the_end(run: Run, at: int, chooser: random.Random) -> None:
    row = run.records[at]
    size = run.group.volume_blocks.get(int(row["volume"]), 8)
    row["kind"] = Kind.UPDATE
    row["volume_lba"] = size - max(0, int(row["block_count"]) - chooser.randint(1, 8))
    seal(row)


def absurd_length(run: Run, at: int, chooser: random.Random) -> None:
    """As long as the numbers go, and in agreement with itself."""
    row = run.records[at]
    length = chooser.choice(ABSURD_32)
    row["kind"], row["block_count"] = Kind.UPDATE, length
    row["data_blocks"] = 0 if row["flags"] else length
    seal(row)


def shifted_data(run: Run, at: int, chooser: random.Random) -> None:
    row = run.records[at]
    row["data_position"] = (int(row["data_position"]) + chooser.choice((-8, -1, 1, 8))) % (1 << 64)
    seal(row)


def noise(run: Run, at: int, chooser: random.Random) -> None:
    """Random bytes, sealed."""
    run.records[at] = np.frombuffer(chooser.randbytes(RECORD.size), RECORD_DTYPE)[0]
    seal(run.records[at])


def renumbered_noise(run: Run, at: int, chooser: random.Random) -> None:
    """Random bytes, sealed, with the right sequence, group, generation and data position."""
    kept = run.records[at].copy()
    noise(run, at, chooser)
    for name in ("sequence", "group_tag", "generation", "data_position"):
        run.records[at][name] = kept[name]
    seal(run.records[at])


def put_marker(run: Run, at: int, payload: bytes) -> None:
    """A marker in the record's place, sealed, with right checksums; its data are whole blocks."""
    row = run.records[at]
    start = (int(row["data_position"]) - run.group.data_position) * 512
    run.data[start : start + int(row["data_blocks"]) * 512] = payload
    run.records["data_position"][at + 1 :] += np.uint64((len(payload) // 512 - int(row["data_blocks"])) & U64)
    for name in ("volume", "volume_lba", "block_count", "flags"):
        row[name] = 0
    row["kind"], row["data_blocks"], row["data_crc"] = Kind.MARKER, len(payload) // 512, crc32c(payload)
    for each in run.records[at:]:
        seal(each)


def marker(make: Callable[[random.Random], bytes]) -> Mutation:
    """A marker in the record's place that is right in all but what `make` makes it say."""
    return lambda run, at, chooser: put_marker(run, at, make(chooser))


def large(chooser: random.Random) -> bytes:
    """A marker in everything but its length."""
    return padded({"what": "named", "name": "n" * (512 * chooser.randint(MARKER_BLOCKS_MAX, 4 * MARKER_BLOCKS_MAX))})


def nested(chooser: random.Random) -> bytes:
    """JSON as deep as it is long, closed or not."""
    depth = chooser.choice((2, 400, 1000, 16000))
    raw = b'{"what": "named", "name": ' + b"[" * depth + chooser.choice((b"]" * depth + b"}", b""))
    return raw.ljust(-(-len(raw) // 512) * 512, b"\0")


def wrong_types(chooser: random.Random) -> bytes:
    """JSON that says something where it should name itself, or is no object."""
    what: object = chooser.choice(([], {}, None, 7, True, [["named"]]))
    return padded(chooser.choice(({"what": what}, {"name": "n"}, [what], "named", 7, {"what": "named", "x": {}})))


def no_json(chooser: random.Random) -> bytes:
    return chooser.randbytes(512 * chooser.randint(1, 4))


def nothing(run: Run, at: int, chooser: random.Random) -> None:
    """A right run must be taken whole: a reader that refuses everything proves nothing."""


MUTATIONS: dict[str, Mutation] = {
    "right": nothing,
    "wrong checksum": flipped_bit,
    "torn": torn,
    "empty slot": empty,
    "gap": gap,
    "repeat": repeated,
    "going back": going_back,
    "swapped": swapped,
    "spoiled data": spoiled_data,
    "wrong data checksum": wrong_data_checksum,
    "address past the end": past_the_end,
    "absurd address": field("volume_lba", *ABSURD_64),
    "absurd length": absurd_length,
    "absurd length on the volume": field("block_count", *ABSURD_32),
    "absurd data length": field("data_blocks", *ABSURD_32),
    "absurd data position": field("data_position", *ABSURD_64),
    "shifted data": shifted_data,
    "absurd sequence": field("sequence", *ABSURD_64),
    "other group": field("group_tag", 0, 1, U32),
    "lower generation": field("generation", 0, 1),
    "higher generation": field("generation", 9, U32),
    "unknown kind": field("kind", 0, 4, 255),
    "unknown flags": field("flags", 4, 128, 255),
    "changed kind": field("kind", 1, 2, 3),
    "changed flags": field("flags", 0, 1, 2, 3),
    "unknown volume": field("volume", 7, 63, 64, 65535),
    "large marker": marker(large),
    "nested marker": marker(nested),
    "marker of wrong types": marker(wrong_types),
    "marker that is no JSON": marker(no_json),
    "noise": noise,
    "noise with the right number": renumbered_noise,
}
