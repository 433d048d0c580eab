"""FORMAT.md and the code say the same."""

from __future__ import annotations

import itertools
import re
import struct
from pathlib import Path

import controller.journal
from controller.inband.digests import LENGTH_BYTES_MAX
from controller.journal import layout, members, pointers
from controller.journal.markers import MarkerKind
from controller.restore import verify
from controller.volume.requests import REQUEST_BYTES_MAX

DOCUMENT = (Path(controller.journal.__file__).parent / "FORMAT.md").read_text()


def table(title: str, beginning: str = "|") -> list[list[str]]:
    """Cells of the first table under a heading, or of the one whose first line begins like that."""
    lines = DOCUMENT.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0].splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith(beginning))
    rows = itertools.takewhile(lambda line: line.startswith("|"), lines[start + 2 :])
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_header_table() -> None:
    rows = table("Header")
    offset = 0
    for (name, code), row in zip(layout.HEADER_FIELDS, rows, strict=False):
        size = struct.calcsize("<" + code)
        assert row[:3] == [str(offset), str(size), name]
        offset += size
    assert rows[-1][:3] == [str(layout.BLOCK_BYTES - 4), "4", "header_crc"]
    assert len(rows) == len(layout.HEADER_FIELDS) + 1


def test_label_table() -> None:
    rows = table("Journal of several volumes")
    offset = 0
    for (name, code), row in zip(members.LABEL_FIELDS, rows, strict=False):
        size = struct.calcsize("<" + code)
        assert row[:3] == [str(offset), str(size), name]
        offset += size
    assert rows[-1][:3] == [str(members.LABEL_BYTES - 4), "4", "label_crc"]
    assert len(rows) == len(members.LABEL_FIELDS) + 1


def test_record_table() -> None:
    rows = table("Record")
    fields = layout.RECORD_DTYPE.fields
    assert fields is not None
    assert [row[:3] for row in rows] == [[str(fields[n][1]), str(fields[n][0].itemsize), n] for n in fields]
    assert layout.RECORD_DTYPE.itemsize == layout.RECORD_BYTES


def test_table_of_the_longest_data() -> None:
    longest = dict.fromkeys(layout.Kind, layout.DATA_BYTES_MAX) | {layout.Kind.MARKER: layout.MARKER_BYTES_MAX}
    found = {layout.Kind[row[0].upper()]: int(row[1]) for row in table("Record", "| kind |")}
    assert found == longest
    assert (
        dict.fromkeys((layout.Kind.UPDATE, layout.Kind.BASE), verify.DATA_BLOCKS_MAX * layout.BLOCK_BYTES)
        | {layout.Kind.MARKER: verify.MARKER_BLOCKS_MAX * layout.BLOCK_BYTES}
        == found
    )
    assert found[layout.Kind.UPDATE] == REQUEST_BYTES_MAX  # what a host may write is what a reader takes
    assert f"A digest speaks of {LENGTH_BYTES_MAX} bytes at most." in " ".join(DOCUMENT.split())


def test_marker_table() -> None:
    assert {row[0] for row in table("Markers")} == set(MarkerKind)


def test_pointer_tables() -> None:
    found = dict(re.findall(r"^\| (\d+) \| (\w+) \| [^|]+ \| [^|]+ \|$", DOCUMENT.split("## Pointer page")[1], re.M))
    assert {name: int(index) for index, name in found.items() if name in set(pointers.Pointer)} == {
        str(pointer): index for pointer, index in pointers.INDEX.items()
    }
    line = [row[:3] for row in table("Pointer page")]
    assert line == [["0", "8", "serial"], ["8", "8", "sequence"], ["16", "8", "data_position"],
                    ["24", "8", "time_ns"], ["60", "4", "line_crc"]]  # fmt: skip
    assert (max(pointers.INDEX.values()) + 1) * 2 * pointers.LINE_BYTES <= pointers.PAGE_BYTES


def test_areas() -> None:
    header = layout.compose(64 << 20, "0" * 32, 1, 5)
    assert next(row[:3] for row in table("Areas")) == ["header", "0", str(layout.HEADER_AREA_BLOCKS)]
    assert header.metadata_head_lba == layout.HEADER_AREA_BLOCKS
    assert header.metadata_block_count == (64 << 20) // 512 // layout.METADATA_SHARE
    assert header.data_head_lba == header.metadata_head_lba + header.metadata_block_count
    assert header.end_bytes == 64 << 20
