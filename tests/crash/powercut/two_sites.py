"""A cut of both sites at once: what was confirmed must be there, and what is there the primary must have."""

from __future__ import annotations

import random
import time
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from controller.api.models import CopyOrder, Links
from controller.copy.pull import JournalPull, Outcome
from controller.copy.worker import SecondaryGroup
from controller.errors import PairvolError
from controller.journal.layout import BLOCK_BYTES
from controller.journal.pointers import Pointer, PointerPage, Position
from controller.journal.volume import JournalVolume
from controller.restore.program import RestoreProgram
from controller.restore.space import JournalSpace
from controller.restore.targets import Targets
from controller.volume.backing import Backing
from tests.crash.links import copy_source, memory_remote
from tests.crash.log_disk.disks import LogDisks
from tests.crash.log_disk.rebuild import Images
from tests.crash.powercut.check import judge, recovered
from tests.crash.powercut.history import History
from tests.crash.powercut.recording import (
    VOLUME_BYTES,
    VOLUME_SECTORS,
    Recording,
    disturbed,
    files_in,
    make_files,
    workload,
)
from tests.crash.results import Row
from tests.crash.server import GROUP_UUID, SiteFiles, VolumeServer
from tests.support.nbdkit import start_nbdkit, unix_uri
from tests.support.processes import Processes

SECONDARY_JOURNAL_BYTES = 2 << 20  # the rings differ in size: every address is converted
SITES = ("tokyo", "osaka")


@dataclass(frozen=True)
class Pair:
    """What both sites' disks were given, and what the secondary confirmed when: (moment, sequence)."""

    recording: Recording
    confirmed: list[tuple[int, int]]

    def confirmed_by(self, before_ns: int) -> int:
        index = bisect_right(self.confirmed, (before_ns, 0))
        return self.confirmed[index - 1][1] if index else 0


def record_pair(processes: Processes, directory: Path, seed: int, operations: int) -> Pair:
    """The volume server at tokyo, a secondary group at osaka, one volume, one log over the disks of both."""
    images: dict[str, Path] = {}
    for site, journal_bytes in zip(SITES, (None, SECONDARY_JOURNAL_BYTES), strict=True):
        made = make_files(directory / site, 1, **({"journal_bytes": journal_bytes} if journal_bytes else {}))
        images |= {f"{site}-{path.name}": path for path in (made.journal, made.pointers, made.volumes[0])}
    disks = LogDisks(processes, directory, images)
    history, confirmed = History(1, VOLUME_SECTORS), list[tuple[int, int]]()
    with disks.files() as paths, ExitStack() as stack:
        tokyo, osaka = (_files(paths, site, directory) for site in SITES)
        read = stack.enter_context(closing(PointerPage.open(str(osaka.pointers))))

        def confirm() -> Position:
            position = read.read(Pointer.ALREADY_READ)
            confirmed.append((time.monotonic_ns(), position.sequence))
            return position

        server = stack.enter_context(VolumeServer(processes, directory, tokyo))
        server.start()
        with _copying(processes, directory, tokyo, osaka), disturbed(tokyo, seed, confirm), disturbed(osaka, seed + 1):
            workload(server, history, random.Random(seed), operations)
    return Pair(Recording(disks.log(), disks.bases, history), confirmed)


def _files(paths: dict[str, Path], site: str, directory: Path) -> SiteFiles:
    volumes = [paths[f"{site}-vol0"]]
    return SiteFiles(paths[f"{site}-journal"], paths[f"{site}-pointers"], volumes, VOLUME_BYTES, directory / "dirty")


@contextmanager
def _copying(processes: Processes, directory: Path, primary: SiteFiles, files: SiteFiles) -> Iterator[None]:
    """osaka's group at work, reading tokyo's files through stock servers as over a link."""
    uris, servers = [], []
    for path in (primary.journal, primary.pointers):
        socket = directory / f"{path.name}.sock"
        servers.append(start_nbdkit(processes, socket, ["-r", "file", path], path.name))
        uris.append(unix_uri(socket))
    links = Links(journal_uri=uris[0], pointers_uri=uris[1], volume_uris={})
    with opened_group(files, directory / "initial-copy") as group:
        group.order_copy(CopyOrder(source=copy_source(primary.journal, links=links), lease_seconds=600))
        yield
        failure = group.snapshot().failure
        assert failure is None, f"the secondary stopped: {failure}"
    for server in servers:
        processes.stop(server)


@contextmanager
def opened_group(files: SiteFiles, state: Path) -> Iterator[SecondaryGroup]:
    backing = Backing.open(str(files.volumes[0]), files.volume_bytes)
    try:
        paths = str(files.journal), str(files.pointers)
        group = SecondaryGroup("db", GROUP_UUID, 1, *paths, {0: backing}, state, lambda *words: None)
        try:
            yield group
        finally:
            group.stop()
    finally:
        backing.close()


def check_pair(row: Row, label: str, directory: Path, images: Images, pair: Pair, before_ns: int) -> None:
    """Recover both sites, hold them against history and each other, and let the pair go on."""
    tokyo, osaka = _lay_out(directory, images)
    row.attempted += 1
    row.reached += pair.confirmed_by(before_ns) > 0
    try:
        tail, volumes = recovered(tokyo)
        with opened_group(osaka, directory / "initial-copy") as group:
            restored = group.finish_restore(30).sequence
        _go_on(tokyo, osaka)
    except PairvolError as error:
        row.lose(f"{label}: {error.message}")
        return
    judge(row, f"{label}, tokyo", tail.sequence, volumes, pair.recording.history, before_ns)
    if restored > tail.sequence:
        row.disorder(f"{label}: osaka has {restored} journals, tokyo {tail.sequence}")
    if restored < pair.confirmed_by(before_ns):
        row.lose(f"{label}: osaka confirmed {pair.confirmed_by(before_ns)} journals and has {restored}")
    if osaka.volumes[0].read_bytes() != volumes[0]:
        row.disorder(f"{label}: the SVOL does not become the PVOL when the pair goes on")


def _lay_out(directory: Path, images: Images) -> list[SiteFiles]:
    for name, image in images.items():
        site, _, file = name.partition("-")
        (directory / site).mkdir(exist_ok=True)
        (directory / site / file).write_bytes(image)
    (directory / "initial-copy").unlink(missing_ok=True)
    return [files_in(directory / site, 1) for site in SITES]


def _go_on(tokyo: SiteFiles, osaka: SiteFiles) -> None:
    """Copy and restore what osaka does not have, with the product's programs."""
    journal = JournalVolume.open(str(osaka.journal), writable=True)
    pointers = PointerPage.open(str(osaka.pointers))
    backing = Backing.open(str(osaka.volumes[0]), VOLUME_BYTES)
    pull = JournalPull(journal, pointers, JournalSpace(journal, pointers), {0: VOLUME_BYTES // BLOCK_BYTES})
    restore = RestoreProgram(journal, pointers, Targets({0: backing}))
    try:
        with memory_remote(tokyo.journal, tokyo.pointers) as remote:
            pull.connect(remote)
            while pull.step().outcome is not Outcome.NOTHING:
                while restore.step(pull.read.sequence):
                    pass
                restore.settle()
    finally:
        backing.close()
        journal.close()
        pointers.close()
