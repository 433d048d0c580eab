"""Two real controllers on log-writes disks, each with its whole state directory on an ext4 of its own."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.crash.log_disk.disks import LogDisks, make_ext4
from tests.crash.powercut.recording import write_back
from tests.support.background import repeated
from tests.support.controllers import ControllerProcess
from tests.support.processes import Processes

SITES = ("tokyo", "osaka")
DISK_BYTES = 40 << 20
# Nothing that ext4 does beyond what it was asked for: a file that is renamed without having been synced is not there.
HARSH = "errors=remount-ro,data=writeback,noauto_da_alloc"
SERVE_ALONE = "[serve]\nalone_after_seconds = 0.2\n"


@contextmanager
def logged_sites(
    processes: Processes, directory: Path, seed: int, module: str, mutant: str
) -> Iterator[tuple[LogDisks, list[ControllerProcess]]]:
    """The disks, whose log is read when this has ended, and the running controllers, in the order of SITES.

    `module` is run in place of the controller, as a mutant of it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    images = {site: directory / f"{site}.image" for site in SITES}
    for image in images.values():
        make_ext4(image, DISK_BYTES)
    disks = LogDisks(processes, directory, images)
    with mounted_sites(disks, directory), ExitStack() as stack:
        sites = [ControllerProcess(processes, directory / site, site, SERVE_ALONE) for site in SITES]
        for controller in sites:
            controller.program = module, mutant
            stack.callback(controller.stop)
            controller.start()
        with disturbed_sites(directory, seed):
            yield disks, sites


@contextmanager
def mounted_sites(disks: LogDisks, directory: Path) -> Iterator[None]:
    """Each disk as the state directory of its site."""
    with ExitStack() as stack:
        for site in SITES:
            point = directory / site / "state"
            point.mkdir(parents=True, exist_ok=True)
            stack.enter_context(disks.mounted(site, point, HARSH))
        yield


@contextmanager
def disturbed_sites(directory: Path, seed: int) -> Iterator[None]:
    """Dirty pages of volumes, journals and pointer pages are written back at random moments, without a sync."""
    chooser = random.Random(seed)
    paths = [
        directory / site / "state" / name
        for site in SITES
        for name in ("volumes/data.img", "groups/db/journal", "groups/db/pointers", "groups/db/safepoint/data")
    ]

    def disturb() -> None:
        with suppress(FileNotFoundError):
            descriptor = os.open(chooser.choice(paths), os.O_RDONLY)
            write_back(descriptor)
            os.close(descriptor)

    with repeated(disturb, lambda: chooser.uniform(0.001, 0.01)):
        yield
