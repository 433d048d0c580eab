"""A second cut: states that were cut already are opened, written to, and cut again, in the recovery or after it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from controller.journal.layout import Flag
from controller.volume.host_path import ServedVolume
from controller.volume.journaled import JournaledPath
from controller.volume.opening import open_journaled
from controller.volume.stores import open_volumes
from tests.crash.log_disk.disks import LogDisks
from tests.crash.log_disk.rebuild import Cut, Images
from tests.crash.powercut.history import Action, History, Operation
from tests.crash.powercut.recording import VOLUME_BYTES, Recording
from tests.crash.server import SiteFiles
from tests.support.processes import Processes

OPERATIONS = (1, 1, 2, 12)  # few: a record left from the first life must come right behind the last of the second


def live_on(files: SiteFiles, history: History, promised: int, chooser: random.Random) -> History:
    """Recover, write some more, flush once in the middle, and die without a checkpoint; the history of it.

    Its last promise is that of a death without a power cut: what was acknowledged is there.
    """
    settings = files.settings()
    assert settings.journal is not None
    volumes = open_volumes(settings.volumes)
    try:
        path = open_journaled(settings.journal, volumes, replay=True)
        life = history.fork(path.appender.tail.sequence, promised)
        count = chooser.choice(OPERATIONS)
        for number in range(count):
            operation = life.issue(chooser, uniform=True, fua_chance=0.05)
            _carry_out(path, volumes, operation)
            life.acknowledge(operation)
            if number == count // 2:
                path.flush(volumes[0])
                life.promise(operation.number)
        path.close()
        life.promise(len(life.operations))
    finally:
        for volume in volumes:
            volume.backing.close()
    return life


def _carry_out(path: JournaledPath, volumes: Sequence[ServedVolume], operation: Operation) -> None:
    volume = volumes[operation.volume]
    if operation.action is Action.WRITE:
        path.write(volume, memoryview(operation.data), operation.lba * 512, operation.fua)
    else:
        path.clear(volume, operation.lba * 512, operation.sectors * 512, Flag.TRIM, operation.fua)


def record_second_life(
    processes: Processes, directory: Path, cut: Cut, images: Images, history: History, seed: int
) -> Recording:
    """The same on log-writes disks that begin as a cut left them."""
    bases = {}
    for name, image in images.items():
        bases[name] = directory / f"{name}.base"
        bases[name].write_bytes(image)
    disks = LogDisks(processes, directory, bases)
    with disks.files() as paths:
        volumes = [paths[name] for name in sorted(paths) if name.startswith("vol")]
        files = SiteFiles(paths["journal"], paths["pointers"], volumes, VOLUME_BYTES, directory / "dirty")
        life = live_on(files, history, history.promised(cut.before_ns), random.Random(seed))
    return Recording(disks.log(), disks.bases, life)
