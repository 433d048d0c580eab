"""What right records make of volumes, one by one and in order."""

from __future__ import annotations

from tests.crash.hostile.mutations import Run

MARKER = 3


def apply_run(images: dict[int, bytearray], run: Run, count: int) -> None:
    """Apply the first `count` records of a run to images by volume index."""
    for record in run.records[:count]:
        if record["kind"] == MARKER:
            continue
        image = images[int(record["volume"])]
        start, length = int(record["volume_lba"]) * 512, int(record["block_count"]) * 512
        at = (int(record["data_position"]) - run.group.data_position) * 512
        image[start : start + length] = bytes(length) if record["flags"] else run.data[at : at + length]
