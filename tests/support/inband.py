"""Reading a journal with base records and digests against what the volumes held, record by record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.inband.digests import digests_of
from controller.journal.layout import BLOCK_BYTES, Flag, Kind
from controller.journal.markers import MarkerKind, parse_marker
from controller.journal.volume import JournalVolume


@dataclass
class Account:
    """What a walk through the journal found. `wrong`: sequences that do not say what the volume held there."""

    volumes: dict[int, bytearray]
    base_records: int = 0
    digests: int = 0
    wrong: list[int] = field(default_factory=list)
    begun: list[int] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)


def account(journal: JournalVolume, contents: Mapping[int, bytes], last: int, first: int = 1) -> Account:
    """Apply journals one by one to the volumes' contents, and compare every base record and digest on the way.

    Only updates change a volume: a base record has to be what is there.
    """
    found = Account({index: bytearray(content) for index, content in contents.items()})
    for record in journal.records(first, last):
        sequence = int(record["sequence"])
        data = b"".join(journal.data_views(int(record["data_position"]), int(record["data_blocks"])))
        if record["kind"] == Kind.MARKER:
            _marker(found, sequence, data)
            continue
        volume = found.volumes[int(record["volume"])]
        start = int(record["volume_lba"]) * BLOCK_BYTES
        end = start + int(record["block_count"]) * BLOCK_BYTES
        content = bytes(end - start) if record["flags"] & (Flag.ZERO | Flag.TRIM) else data
        if record["kind"] == Kind.UPDATE:
            volume[start:end] = content
            continue
        found.base_records += 1
        if volume[start:end] != content:
            found.wrong.append(sequence)
    return found


def _marker(found: Account, sequence: int, payload: bytes) -> None:
    content = parse_marker(payload)
    what = content.get("what")
    if what == MarkerKind.RUN_BEGUN:
        found.begun.append(sequence)
    elif what == MarkerKind.RUN_ENDED:
        found.ended.append(sequence)
    elif what == MarkerKind.DIGEST:
        found.digests += 1
        start, length = content["offset"], content["length"]
        held = memoryview(bytes(found.volumes[content["volume"]][start : start + length]))
        expected = content["digests"] or digests_of(memoryview(bytes(length)))
        if digests_of(held) != expected:
            found.wrong.append(sequence)
