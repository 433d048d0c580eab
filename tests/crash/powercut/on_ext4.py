"""The same with all files of the group on one ext4, which a cut tears together with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.crash.log_disk.disks import LogDisks, attached, make_ext4, mounted_ext4
from tests.crash.log_disk.rebuild import Cut, Images
from tests.crash.powercut.recording import Recording, files_in, lives, make_files
from tests.crash.server import VolumeServer
from tests.support.processes import Processes

DISK = "disk"
DISK_BYTES = 32 << 20


def record_on_ext4(processes: Processes, directory: Path, seed: int, operations: int, kills: int = 1) -> Recording:
    """As `recording.record`, on a mounted file system."""
    image, point = directory / "image", directory / "base"
    make_ext4(image, DISK_BYTES)
    point.mkdir()
    with attached(image) as device, mounted_ext4(device, point):
        make_files(point / "group", volumes=2)
    disks = LogDisks(processes, directory, {DISK: image})
    with (
        disks.mounted(DISK) as mounted,
        VolumeServer(processes, directory, files_in(mounted / "group", 2)) as server,
    ):
        history, restarts = lives(server, seed, operations, kills)
    return Recording(disks.log(), disks.bases, history, restarts)


@contextmanager
def laid_out(directory: Path, images: Images) -> Iterator[Path]:
    """The file system of a state, mounted; its own journal has been replayed."""
    image, point = directory / "state.image", directory / "state"
    image.write_bytes(images[DISK])
    point.mkdir(exist_ok=True)
    with attached(image) as device, mounted_ext4(device, point):
        yield point / "group"


def describe(cut: Cut, seed: int) -> str:
    return f"seed {seed}, on ext4, cut {cut}"
