"""Several writers at once over two to four volumes of one group: is what a cut leaves a prefix across all of them?"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from controller.errors import PairvolError
from tests.crash.log_disk.disks import LogDisks
from tests.crash.log_disk.log import Entry
from tests.crash.log_disk.rebuild import Images
from tests.crash.powercut.check import recovered
from tests.crash.powercut.recording import VOLUME_BYTES, VOLUME_SECTORS, disturbed, make_files
from tests.crash.results import Row
from tests.crash.server import PLUGIN, SiteFiles, VolumeServer
from tests.support.nbdkit import connected
from tests.support.processes import Processes
from tests.support.stamps import NEVER_NS, StampLog, Write, check_order

WRITERS = 4
FLUSH_SHARE = 0.05  # of the writes, each with a flush behind it


@dataclass
class Crowd:
    """What was written at once by several connections, and what of it was flushed when."""

    log: Sequence[Entry] = ()
    bases: Mapping[str, bytes] = field(default_factory=dict)
    stamps: StampLog = field(default_factory=StampLog)
    flushes: list[tuple[int, int]] = field(default_factory=list)  # acknowledged, issued
    killed: Images = field(default_factory=dict)  # the files as a kill without a power cut left them

    def writes(self, before_ns: int) -> list[Write]:
        """The history as it stood at a moment."""
        return [
            write if write.settled_ns < before_ns else replace(write, settled_ns=NEVER_NS, acknowledged=False)
            for write in self.stamps.writes
            if write.issued_ns < before_ns
        ]

    def promised_ns(self, before_ns: int) -> int:
        """Every write acknowledged by then had been flushed at `before_ns`."""
        return max((issued for acknowledged, issued in self.flushes if acknowledged < before_ns), default=0)


def record_crowd(
    processes: Processes,
    directory: Path,
    seed: int,
    volumes: int,
    writes: int,
    *,
    flush_share: float = FLUSH_SHARE,
    script: Path = PLUGIN,
    environment: Mapping[str, str] | None = None,
) -> Crowd:
    """WRITERS connections, each to a volume of its own or shared, and one server killed at the end."""
    base = make_files(directory / "base", volumes)
    images = {"journal": base.journal, "pointers": base.pointers, **{path.name: path for path in base.volumes}}
    disks = LogDisks(processes, directory, images)
    crowd = Crowd()
    with disks.files() as paths:
        served = [paths[path.name] for path in base.volumes]
        files = SiteFiles(paths["journal"], paths["pointers"], served, VOLUME_BYTES, directory / "dirty")
        server = VolumeServer(processes, directory, files, script, environment=environment or {})
        with server, disturbed(files, seed):
            server.start()
            _write_at_once(server, crowd, seed, writes, flush_share)
            server.kill()
        crowd.killed = {name: bytearray(path.read_bytes()) for name, path in paths.items()}
    crowd.log, crowd.bases = disks.log(), disks.bases
    return crowd


def _write_at_once(server: VolumeServer, crowd: Crowd, seed: int, writes: int, flush_share: float) -> None:
    failures: list[BaseException] = []

    def write(number: int) -> None:
        chooser = random.Random(seed * 1000 + number)
        volume = number % len(server.files.volumes)
        try:
            with connected(server.uri(volume)) as handle:
                for _ in range(writes // WRITERS):
                    sectors = chooser.choice((1, 8, 8, 16))
                    lba = chooser.randrange(VOLUME_SECTORS - sectors + 1) // 4  # hot: overwritten again and again
                    stamped, data = crowd.stamps.issue(volume, lba, sectors)
                    handle.pwrite(data, lba * 512)
                    crowd.stamps.acknowledge(stamped)
                    if chooser.random() < flush_share:
                        issued_ns = time.monotonic_ns()
                        handle.flush()
                        crowd.flushes.append((time.monotonic_ns(), issued_ns))
        except BaseException as failure:  # noqa: BLE001 - handed to the caller below
            failures.append(failure)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def check_crowd(row: Row, label: str, files: SiteFiles, crowd: Crowd, before_ns: int, promised_ns: int) -> None:
    """Recover a state and hold it against the order in which things were issued and acknowledged.

    Every write acknowledged before `promised_ns` must be there or overwritten.
    """
    row.attempted += 1
    try:
        _, volumes = recovered(files)
    except PairvolError as error:
        row.lose(f"{label}: {error.message}")
        return
    writes = crowd.writes(before_ns)
    row.reached += bool(writes)
    images = dict(enumerate(volumes))
    order = check_order(images, writes)
    if not order.clean:
        row.disorder(f"{label}: {order}")
    elif not check_order(images, writes, promised_ns).clean:
        row.lose(f"{label}: a write that was promised is missing")
