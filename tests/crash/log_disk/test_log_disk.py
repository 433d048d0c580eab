"""The log-writes disk itself: what was synced is in every state after it, what was not is missing in some."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from tests.crash.log_disk.disks import LogDisks, attached, make_ext4, mounted_ext4
from tests.crash.log_disk.log import Entry, Kind
from tests.crash.log_disk.rebuild import EXT4_TEAR_UNITS, Rebuilder, cuts, pieces, states
from tests.support.processes import Processes

BLOCK = 4096


def write(disk: str, offset: int, data: bytes) -> Entry:
    return Entry(0, disk, Kind.WRITE, offset, len(data), memoryview(data))


def flush(disk: str) -> Entry:
    return Entry(0, disk, Kind.FLUSH, 0, 0, memoryview(b""))


def test_a_flush_speaks_of_its_own_disk_alone() -> None:
    log = [write("a", 0, b"1" * BLOCK), write("b", 0, b"2" * BLOCK), flush("a")]
    rebuilder = Rebuilder(log, {"a": bytes(BLOCK), "b": bytes(BLOCK)})
    rebuilder.advance(2)
    seen = {bytes(rebuilder.reorder(random.Random(seed), BLOCK)["b"][:1]) for seed in range(40)}
    assert seen == {b"\0", b"2"}
    assert all(rebuilder.reorder(random.Random(seed), 512)["a"] == b"1" * BLOCK for seed in range(10))
    assert rebuilder.prefix() == {"a": b"1" * BLOCK, "b": b"2" * BLOCK}


def test_a_write_tears_where_blocks_of_the_disk_end() -> None:
    assert list(pieces(write("a", 4000, bytes(5000)), BLOCK)) == [(0, 96), (96, 4096), (4192, 808)]


@pytest.mark.root
@pytest.mark.crash
def test_synced_bytes_of_a_mapped_file_are_in_every_state(short_path: Path, processes: Processes) -> None:
    image = short_path / "image"
    image.write_bytes(bytes(64 * BLOCK))
    disks = LogDisks(processes, short_path, {"disk": image})
    synced_ns: list[int] = []
    with disks.file("disk") as path, path.open("r+b", buffering=0) as file:
        for number in range(16):
            os.pwrite(file.fileno(), bytes([number + 1]) * BLOCK, number * BLOCK)
            os.pwrite(file.fileno(), bytes([number + 1]) * BLOCK, (number + 32) * BLOCK)
            os.fdatasync(file.fileno())
            synced_ns.append(time.monotonic_ns())
    log = disks.log()
    missing = 0
    for cut, images in states(log, disks.bases, cuts(log, 200, seed=1)):
        numbers = images["disk"][: 16 * BLOCK : BLOCK]
        for number, moment in enumerate(synced_ns):
            if moment < cut.before_ns:
                assert numbers[number] == number + 1, cut
            elif any(entry.offset == number * BLOCK for entry in log[: cut.index + 1] if entry.kind == Kind.WRITE):
                missing += numbers[number] == 0
    assert missing > 0


@pytest.mark.root
@pytest.mark.crash
def test_an_ext4_on_it_keeps_every_synced_file(short_path: Path, processes: Processes) -> None:
    image = short_path / "image"
    make_ext4(image, 16 << 20)
    disks = LogDisks(processes, short_path, {"disk": image})
    synced_ns: list[int] = []
    with disks.mounted("disk") as point:
        for number in range(12):
            with (point / f"file{number}").open("wb") as file:
                file.write(b"%d" % number * 5000)
                file.flush()
                os.fsync(file.fileno())
            synced_ns.append(time.monotonic_ns())
    log = disks.log()
    state = Path("/dev/shm") / f"{short_path.name}.image"
    point = short_path / "state"
    point.mkdir()
    try:
        for cut, images in states(log, disks.bases, cuts(log, 20, seed=2, units=EXT4_TEAR_UNITS)):
            state.write_bytes(images["disk"])
            with attached(state) as device, mounted_ext4(device, point):
                for number, moment in enumerate(synced_ns):
                    if moment < cut.before_ns:
                        assert (point / f"file{number}").read_bytes() == b"%d" % number * 5000, cut
    finally:
        state.unlink(missing_ok=True)
