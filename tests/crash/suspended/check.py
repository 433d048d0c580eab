"""Is everything promised there, and does the dirty map own up to everything that went past the journal?"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from controller.errors import PairvolError
from controller.volume.dirty import DirtyMap
from controller.volume.write_path import WritePath
from tests.crash.log_disk.disks import attached, mounted_ext4
from tests.crash.log_disk.rebuild import Cut, Images
from tests.crash.powercut.history import History
from tests.crash.results import Row
from tests.crash.server import GROUP_UUID, SiteFiles
from tests.crash.suspended.recording import STATE_DISK, VOLUME_BYTES, Suspension
from tests.support.stamps import SECTOR

Numbers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Found:
    """A state after recovery. Without a map `dirty` is nothing; with one it says of each sector whether it is in it."""

    volume: bytes
    dirty: np.ndarray[Any, np.dtype[np.bool_]] | None = None
    journaled: int = 0  # operations up to here have journals: without markers their number is their sequence


def check_cut(row: Row, cut: Cut, directory: Path, images: Images, suspension: Suspension) -> None:
    """Lay a state out, open it as the server does, and judge it."""
    for name, image in images.items():
        (directory / name).write_bytes(image)
    point = directory / "mnt"
    point.mkdir(exist_ok=True)
    history = suspension.recording.history
    label = f"seed {row.seed}, cut {cut}"
    row.attempted += 1
    row.reached += history.issued(cut.before_ns) > 0
    try:
        with attached(directory / STATE_DISK) as device, mounted_ext4(device, point):
            paths = directory / "journal", directory / "pointers", [directory / "vol0"]
            try:
                found = _open(SiteFiles(*paths, VOLUME_BYTES, point / "dirty"))
            except PairvolError as error:
                row.lose(f"{label}: {error.message}")
                return
    except (AssertionError, subprocess.CalledProcessError) as error:
        row.lose(f"{label}: {error}")
        return
    numbers = np.frombuffer(found.volume, SECTOR)["number"].astype(np.int64)
    _judge_promises(row, label, numbers, history, cut.before_ns)
    if cut.before_ns < suspension.cleared_ns:
        _judge_map(row, label, numbers, found, suspension)


def _open(files: SiteFiles) -> Found:
    path = WritePath.open(files.settings())
    path.close()
    volume = files.volumes[0].read_bytes()
    if not files.dirty_map.exists():
        return Found(volume)
    dirty = np.zeros(VOLUME_BYTES // 512, dtype=np.bool_)
    marks = DirtyMap.open(str(files.dirty_map), GROUP_UUID)
    for start, length in marks.regions(0):
        dirty[start // 512 : -(-(start + length) // 512)] = True
    marks.close()
    return Found(volume, dirty, marks.position.sequence)


def _judge_promises(row: Row, label: str, numbers: Numbers, history: History, before_ns: int) -> None:
    """Each sector shows the last write that was promised, or a later one."""
    promised, issued = history.promised(before_ns), history.issued(before_ns)
    needed = np.zeros(len(numbers), dtype=np.int64)
    for operation in history.operations[:promised]:
        needed[operation.lba : operation.lba + operation.sectors] = operation.number
    missing = np.flatnonzero(numbers < needed)
    if len(missing):
        lba = int(missing[0])
        row.lose(f"{label}: LBA {lba} shows operation {numbers[lba]}, {needed[lba]} was promised")
    for lba in np.flatnonzero(numbers > 0).tolist():
        number = int(numbers[lba])
        place = history.operations[number - 1].lba if number <= issued else -1
        if not place <= lba < place + 8:
            row.disorder(f"{label}: LBA {lba} shows operation {number}, which is not of this place or time")
            return


def _judge_map(row: Row, label: str, numbers: Numbers, found: Found, suspension: Suspension) -> None:
    """What went past the journal and is there is in the map; without a map nothing went past it."""
    if found.dirty is None:
        newest = int(numbers.max(initial=0))
        if [found.volume] != [bytes(image) for image in suspension.recording.history.images(newest)]:
            row.disorder(f"{label}: no map, and the volume is not what operation {newest} left")
        return
    missed = np.flatnonzero((numbers > found.journaled) & (numbers <= suspension.resumed) & ~found.dirty)
    if len(missed):
        lba = int(missed[0])
        row.disorder(f"{label}: LBA {lba} shows operation {numbers[lba]}, which is neither in journal nor map")
