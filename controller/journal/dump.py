"""The records of a journal, or of a kept orphan tail, for people and scripts to look at.

Reads only, and everything that is there: records are given in order of their
sequence, those that cannot be believed too, with what is wrong with them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from controller.durable import hint_for
from controller.errors import StorageError
from controller.journal.layout import BLOCK_BYTES, Flag, Kind, group_tag, records_valid
from controller.journal.markers import parse_marker
from controller.journal.recovery import data_crc
from controller.journal.volume import JournalVolume


def dump(
    path: str | os.PathLike[str], first: int = 1, last: int | None = None, data_directory: Path | None = None
) -> Iterator[dict[str, Any]]:
    """Records `first` to `last` as JSON-ready dicts; with a directory, each one's data in the file SEQUENCE.bin there.

    `problem` is None for a record that is right. The data of a wrong one is
    not extracted.
    """
    journal = JournalVolume.open(os.fspath(path), writable=False)
    try:
        records = journal.all_records().copy()
        mine = (records["sequence"] >= first) & (records["sequence"] > 0)
        if last is not None:
            mine &= records["sequence"] <= last
        records = records[mine]
        records = records[np.argsort(records["sequence"], kind="stable")]
        previous: np.void | None = None
        for record, valid in zip(records, records_valid(records), strict=True):
            found = _describe(journal, record, bool(valid), previous)
            if data_directory is not None and found["problem"] is None and found["data_bytes"]:
                found["file"] = _extract(journal, record, data_directory)
            previous = record if valid else previous
            yield found
    finally:
        journal.close()


def _describe(journal: JournalVolume, record: np.void, valid: bool, previous: np.void | None) -> dict[str, Any]:
    position, blocks = int(record["data_position"]), int(record["data_blocks"])
    kind = int(record["kind"])
    found: dict[str, Any] = {
        "sequence": int(record["sequence"]),
        "time_ns": int(record["time_ns"]),
        "generation": int(record["generation"]),
        "kind": Kind(kind).name.lower() if kind in list(Kind) else str(kind),
        "flags": [flag.name.lower() for flag in (Flag.ZERO, Flag.TRIM) if int(record["flags"]) & flag and flag.name],
        "volume": int(record["volume"]),
        "offset": int(record["volume_lba"]) * BLOCK_BYTES,
        "bytes": int(record["block_count"]) * BLOCK_BYTES,
        "data_bytes": blocks * BLOCK_BYTES,
        "problem": _problem(journal, record, valid, previous),
    }
    if kind == Kind.MARKER and found["problem"] is None:
        found["marker"] = parse_marker(b"".join(journal.data_views(position, blocks)))
    return found


def _problem(journal: JournalVolume, record: np.void, valid: bool, previous: np.void | None) -> str | None:
    sequence, position, blocks = (int(record[name]) for name in ("sequence", "data_position", "data_blocks"))
    if not valid:
        return "record fails its checksum"
    if int(record["group_tag"]) != group_tag(journal.header.group_uuid):
        return "record belongs to another group"
    if blocks > journal.data_blocks or data_crc(journal, position, blocks) != int(record["data_crc"]):
        return "data fails its checksum: it is overwritten, or damaged"
    if previous is not None and int(previous["sequence"]) + 1 != sequence:
        return f"journals {int(previous['sequence']) + 1}..{sequence - 1} are missing before it"
    return None


def _extract(journal: JournalVolume, record: np.void, directory: Path) -> str:
    file = directory / f"{int(record['sequence']):012d}.bin"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as out:
            for view in journal.data_views(int(record["data_position"]), int(record["data_blocks"])):
                out.write(view)
    except OSError as error:
        words = (error.strerror or str(error)).lower()
        raise StorageError(f"cannot write {file}: {words}", hint=hint_for(error), path=str(file)) from error
    return str(file)
