"""The life of a pair on log-writes disks: two real controllers, each with its whole state directory on one ext4.

Owns the script: found the pair, copy, follow, purge, resync, take over from
the safe point in the middle of a resync, demote, promote, a planned change
back, and a takeover of volumes that hosts write to. Each order is noted in
the chronicle when it is given and when it is answered, so a cut at any moment
has a known answer.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import nbd

from controller.api.lifecycle import EpochOrder, ServeOrder, SplitOrder
from controller.api.models import Role, SplitMode, TakeoverRequest, VolumeCreate
from tests.crash.log_disk.log import Entry
from tests.crash.powercut.chronicle import Chronicle
from tests.crash.powercut.logged_sites import logged_sites
from tests.support.controllers import ControllerProcess
from tests.support.lifecycle import GROUP, Life
from tests.support.nbdkit import connected, read_all, unix_uri
from tests.support.pairs import ControllerPair
from tests.support.processes import Processes
from tests.support.waiting import wait_until

VOLUME = "data"
VOLUME_BYTES = 4 << 20
JOURNAL_BYTES = 1 << 20

Stage = Callable[["Script"], None]


@dataclass(frozen=True)
class LifeRecording:
    """What both disks were given, and what was written and answered meanwhile. `directory` is where they were."""

    log: Sequence[Entry]
    bases: Mapping[str, bytes]
    chronicle: Chronicle
    directory: Path


class Script:
    """Plays the agents and the host of one pair."""

    def __init__(self, sites: Sequence[ControllerProcess], seed: int) -> None:
        self.tokyo, self.osaka = sites
        self.chronicle = Chronicle(VOLUME_BYTES)
        self.life: Life
        self._chooser = random.Random(seed)

    def write_when_served(self, socket: Path, generation: int, count: int) -> None:
        def served() -> bool:
            try:
                with connected(unix_uri(socket, VOLUME)):
                    return True
            except nbd.Error:
                return False

        wait_until(served, 20, "the volume to be served", interval=0.002)
        self._write(unix_uri(socket, VOLUME), generation, count, True, 0, 4)

    def write(
        self,
        site: ControllerProcess,
        generation: int,
        count: int,
        direct: bool = False,
        low: int = 0,
        high: int = 4,
    ) -> None:
        """Writes between two MiB, with a flush now and then and at the end; `direct`: no journal takes them."""
        self._write(site.wait_served(VOLUME), generation, count, direct, low, high)

    def _write(self, uri: str, generation: int, count: int, direct: bool, low: int, high: int) -> None:
        notes, chooser = self.chronicle, self._chooser
        with connected(uri) as handle:
            for _ in range(count):
                sectors = chooser.choice((1, 2, 7, 8, 8, 8, 16, 64))
                lba = chooser.randrange(low * 2048, high * 2048 - sectors + 1)
                handle.pwrite(notes.issue(generation, lba, sectors, direct).data, lba * 512)
                if chooser.random() < 0.2:
                    handle.flush()
                    notes.promise(generation)
            handle.flush()
        notes.promise(generation)

    def in_step(self, generation: int, secondary: str) -> None:
        """Everything is copied, restored, confirmed and purged."""
        self.life.catch_up()
        self.chronicle.keep(secondary, self.chronicle.newest(generation))

    def read(self, site: ControllerProcess) -> bytes:
        return read_all(site.wait_served(VOLUME))


def found(script: Script) -> None:
    """Volume, pair, initial copy while the host writes."""
    tokyo, osaka, notes = script.tokyo, script.osaka, script.chronicle
    tokyo.client.create_volume(VolumeCreate(name=VOLUME, size_bytes=VOLUME_BYTES))
    script.write(tokyo, 1, 15, direct=True)
    with notes.unready("osaka"):
        with notes.act("osaka", Role.SECONDARY, 1), notes.act("tokyo", Role.PRIMARY, 1):
            script.life = Life(ControllerPair(tokyo, osaka, {VOLUME: VOLUME_BYTES}, JOURNAL_BYTES))
        script.life.pair.order_initial_copy()
        script.life.pair.follow()
        script.write(tokyo, 1, 15)
        script.life.pair.wait_copied()
        script.in_step(1, "osaka")


def replicate(script: Script) -> None:
    """Journals copied, restored and purged, round after round; the ring wraps."""
    for _ in range(3):
        script.write(script.tokyo, 1, 50)
        script.in_step(1, "osaka")


def resync(script: Script) -> None:
    """Suspended, resumed, and the difference copied while the host writes on."""
    tokyo, life = script.tokyo, script.life
    tokyo.client.suspend(GROUP)
    script.write(tokyo, 1, 12, direct=True, high=2)
    changed = life.resume()
    script.write(tokyo, 1, 6)
    life.order_resync(changed)
    life.pair.follow()
    script.write(tokyo, 1, 10)
    wait_until(lambda: life.consistent() and not life.state(script.osaka).safe_point.open, 60, "the resync to end")
    life.pair.confirm()
    tokyo.client.clear_epoch(GROUP, EpochOrder(epoch=changed.epoch))
    script.in_step(1, "osaka")


def take_over_from_safe_point(script: Script) -> None:
    """A resync that cannot end, and the site taken over in the middle of it."""
    tokyo, osaka, life, notes = script.tokyo, script.osaka, script.life, script.chronicle
    script.in_step(1, "osaka")
    fork = notes.newest(1)
    tokyo.client.suspend(GROUP)
    script.write(tokyo, 1, 12, direct=True, low=2)
    life.resume()
    script.write(tokyo, 1, 12)
    source = tokyo.server_pid("p-db")
    os.kill(source, signal.SIGSTOP)  # the copy cannot end
    try:
        life.order_resync()
        life.pair.follow()
        wait_until(lambda: life.state(osaka).safe_point.bytes > 0, what="the safe point to hold something")
        life.pair.wait_restored()
        take_over(script, 2, fork, force=True)
    finally:
        os.kill(source, signal.SIGCONT)


def take_over_forced(script: Script) -> None:
    """Whatever has arrived; a host writes as soon as it is served."""
    notes, osaka = script.chronicle, script.osaka
    script.write(script.tokyo, 1, 20)
    script.in_step(1, "osaka")
    notes.forks[2] = 1, notes.newest(1)
    socket = osaka.run_directory / f"v-{VOLUME}.sock"
    with notes.act("osaka", Role.TAKEN_OVER, 2), ThreadPoolExecutor(1) as host:
        eager = host.submit(script.write_when_served, socket, 2, 20)
        osaka.client.take_over(GROUP, TakeoverRequest(generation=2, force=True))
        eager.result(20)


def take_over(script: Script, generation: int, fork: int, force: bool) -> None:
    notes, site = script.chronicle, script.life.secondary
    notes.forks[generation] = notes.history_of(fork), fork
    with notes.act(site.site, Role.TAKEN_OVER, generation):
        site.client.take_over(GROUP, TakeoverRequest(generation=generation, force=force))
    assert script.read(site) == notes.image(fork), "the takeover gave another state than the one meant"


def swap(script: Script, generation: int) -> None:
    """The old primary follows the new one."""
    notes, life = script.chronicle, script.life
    script.write(life.secondary, generation, 15, direct=True)
    with notes.unready(life.primary.site):
        with notes.act(life.primary.site, Role.SECONDARY, generation):
            life.swap_roles()
        with notes.act(life.primary.site, Role.PRIMARY, generation):
            life.promote()
        script.write(life.primary, generation, 10)
        life.join()
        script.in_step(generation, life.secondary.site)
    script.write(life.primary, generation, 10)
    script.in_step(generation, life.secondary.site)


def swap_to_osaka(script: Script) -> None:
    swap(script, 2)


def planned_back(script: Script) -> None:
    """The old primary takes over with everything, in order."""
    script.osaka.client.serve(GROUP, ServeOrder(generation=2, on=False))
    script.in_step(2, "tokyo")
    take_over(script, 3, script.chronicle.newest(2), force=False)
    swap(script, 3)


def take_over_split(script: Script) -> None:
    """Hosts write to the split secondary, and it is taken over as it stands."""
    tokyo, osaka, notes = script.tokyo, script.osaka, script.chronicle
    script.in_step(3, "osaka")
    notes.forks[4] = 3, notes.newest(3)
    osaka.client.split(GROUP, SplitOrder(mode=SplitMode.WRITE))
    script.write(osaka, 4, 10, direct=True)
    script.write(tokyo, 3, 10)
    with notes.act("osaka", Role.TAKEN_OVER, 4):
        osaka.client.take_over(GROUP, TakeoverRequest(generation=4, force=True))
    script.write(osaka, 4, 10, direct=True)


LIFE: tuple[Stage, ...] = (
    found,
    replicate,
    resync,
    take_over_from_safe_point,
    swap_to_osaka,
    planned_back,
    take_over_split,
)


def record_life(
    processes: Processes,
    directory: Path,
    seed: int,
    stages: Sequence[Stage] = LIFE,
    module: str = "",
    mutant: str = "",
) -> LifeRecording:
    """Both controllers through these stages. `module` is run in place of the controller, as a mutant of it."""
    with logged_sites(processes, directory, seed, module, mutant) as (disks, sites):
        script = Script(sites, seed)
        for stage in stages:
            stage(script)
    return LifeRecording(disks.log(), disks.bases, script.chronicle, directory)
