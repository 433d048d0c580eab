"""The life of a pair that grows, on log-writes disks: its journals move, volumes join, grow and leave, runs go in band.

Owns the script. The journals lie on several pool volumes at first; the initial
copy is by base journals through journals smaller than the volume; a host
writes while everything else happens.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from controller import growth
from controller.api.lifecycle import EpochOrder, JournalResize, MembersJoin, MembersLeave, VolumeResize
from controller.api.models import (
    CopyState,
    GroupVolume,
    InitialCopyMethod,
    PoolAdd,
    RestoreMode,
    RestoreRequest,
    VolumeCreate,
)
from controller.api.runs import RunKind, RunOrder
from controller.groups import commands
from hostagent.life.inband import initial, passed
from tests.crash.log_disk.log import Entry
from tests.crash.powercut.growing_notes import Notes
from tests.crash.powercut.logged_sites import logged_sites
from tests.support.controllers import ControllerProcess
from tests.support.lifecycle import GROUP, Life
from tests.support.nbdkit import connected
from tests.support.pairs import ControllerPair
from tests.support.processes import Processes
from tests.support.waiting import wait_until

MIB = 1 << 20
VOLUMES = ("data", "more")  # by number
DATA_BYTES, GROWN_BYTES, MORE_BYTES = 3 * MIB, 4 * MIB, 2 * MIB

Stage = Callable[["Grower"], None]


@dataclass(frozen=True)
class Growth:
    """What both disks were given, and what was written and answered meanwhile. `directory` is where they were."""

    log: Sequence[Entry]
    bases: Mapping[str, bytes]
    notes: Notes
    directory: Path


class Grower:
    """Plays the agents and the host."""

    def __init__(self, sites: Sequence[ControllerProcess], seed: int) -> None:
        self.tokyo, self.osaka = sites
        self.notes = Notes()
        self.life: Life
        self._chooser = random.Random(seed)

    @property
    def pair(self) -> ControllerPair:
        return self.life.pair

    def write(self, name: str, count: int, low: int = 0, high: int | None = None) -> None:
        """Writes between two offsets, with a flush now and then and at the end."""
        notes, chooser, number = self.notes, self._chooser, VOLUMES.index(name)
        with connected(self.tokyo.wait_served(name)) as handle:
            end = min(handle.get_size(), high or handle.get_size()) // 512
            for _ in range(count):
                sectors = chooser.choice((1, 2, 7, 8, 8, 8, 16, 64))
                lba = chooser.randrange(low // 512, end - sectors + 1)
                handle.pwrite(notes.issue(number, lba, sectors).data, lba * 512)
                if chooser.random() < 0.2:
                    handle.flush()
                    notes.promise()
            handle.flush()
        notes.promise()

    @contextmanager
    def writing(self, name: str, count: int) -> Iterator[None]:
        """A host that writes while something else is done."""
        with ThreadPoolExecutor(1) as host:
            busy = host.submit(self.write, name, count)
            yield
            busy.result(60)

    def in_step(self) -> None:
        """Everything is copied, restored, confirmed and purged."""
        number = len(self.notes.writes)
        self.life.catch_up()
        self.notes.keep(number)

    def go_in_band(self, done: Callable[[], bool]) -> None:
        """The agents' beat until that is so: the run that is due, what was read confirmed, the copy renewed."""

        def beat() -> bool:
            primary, secondary = self.life.state(self.tokyo), self.life.state(self.osaka)
            wanted = initial(primary, secondary)
            if wanted is not None:
                self.tokyo.client.order_run(GROUP, wanted)
            self.pair.follow()
            self.pair.confirm()
            return done()

        wait_until(beat, 60, "a run in band", interval=0.01)

    def resize_journal(self, site: ControllerProcess, order: JournalResize, journal_bytes: int) -> None:
        again = lambda appliance: commands.resize_journal(appliance, GROUP, order)  # noqa: E731
        with self.notes.change(site.site, "journal", journal_bytes, again):
            site.client.resize_journal(GROUP, order)

    def resize_volume(self, site: ControllerProcess, name: str, size_bytes: int) -> None:
        order = VolumeResize(size_bytes=size_bytes, group=GROUP)
        with self.notes.change(
            site.site, f"size of {name}", size_bytes, lambda appliance: growth.resize(appliance, name, order)
        ):
            site.client.resize_volume(name, order)


def found(grower: Grower) -> None:
    """Volumes with something in them, journals of several pool volumes, paired."""
    tokyo, osaka, notes = grower.tokyo, grower.osaka, grower.notes
    for name, size in zip(VOLUMES, (DATA_BYTES, MORE_BYTES), strict=True):
        tokyo.client.create_volume(VolumeCreate(name=name, size_bytes=size))
        grower.write(name, 12)
    for site in (tokyo, osaka):
        for part in ("one", "two"):
            site.client.add_to_pool(PoolAdd(name=part, size_bytes=MIB))
    pools = {"tokyo": ["one", "two"], "osaka": ["two", "one"]}
    grower.life = Life(ControllerPair(tokyo, osaka, {"data": DATA_BYTES}, pools=pools))
    for site in (tokyo, osaka):
        notes.facts[site.site, "size of data"] = DATA_BYTES
        notes.facts[site.site, "members"] = ("data",)
        notes.facts[site.site, "journal"] = site.client.group(GROUP).journal_bytes
    grower.write("data", 10)
    notes.begun_ns = notes.writes[-1].issued_ns


def copy_in_band(grower: Grower) -> None:
    """The initial copy by base journals, in stages, a host writing on; the ring of several volumes wraps."""
    grower.pair.order_initial_copy(InitialCopyMethod.BASE)
    grower.pair.follow()
    with grower.writing("data", 40):
        grower.go_in_band(lambda: grower.life.state(grower.osaka).initial_copy.state is CopyState.DONE)
    grower.in_step()
    grower.notes.copied_ns = grower.notes.last_kept_ns
    grower.write("data", 60)
    grower.in_step()


def copy_directly(grower: Grower) -> None:
    """The initial copy in the other way, for lives that are about something else."""
    grower.pair.order_initial_copy()
    grower.pair.follow()
    grower.pair.wait_copied()
    grower.in_step()
    grower.notes.copied_ns = grower.notes.last_kept_ns


def compare_in_band(grower: Grower) -> None:
    """Digests, and a repair of what was the same all the while."""
    for kind in (RunKind.VERIFY, RunKind.REPAIR):
        run = RunOrder(run=f"run-{kind}", kind=kind)
        grower.tokyo.client.order_run(GROUP, run)

        def ended() -> bool:
            state = grower.life.state(grower.tokyo).run
            return state is not None and passed(state, grower.life.state(grower.osaka).verify)

        with grower.writing("data", 15):
            grower.go_in_band(ended)
        found = grower.life.state(grower.osaka).verify
        assert found is not None
        assert not found.different, found
    grower.in_step()


def move_journals(grower: Grower) -> None:
    """Off the pool volumes into files of other sizes, full of what is still needed, and back onto one of them."""
    tokyo, osaka = grower.tokyo, grower.osaka
    grower.pair.follow(RestoreMode.LATER)
    grower.write("data", 25)
    number = len(grower.notes.writes)
    read = grower.pair.durable()
    wait_until(lambda: grower.life.state(osaka).pointers["already_read"].sequence >= read, what="journals to be read")
    grower.notes.keep(number)  # they are durable there, and restored by a takeover
    grower.resize_journal(osaka, JournalResize(size_bytes=3 * MIB), 3 * MIB)
    with grower.writing("data", 25):
        grower.resize_journal(tokyo, JournalResize(size_bytes=3 * MIB), 3 * MIB)
    osaka.client.order_restore(GROUP, RestoreRequest())
    grower.in_step()
    grower.write("data", 20)
    with grower.writing("data", 20):
        grower.resize_journal(tokyo, JournalResize(journal_volumes=["two"]), MIB)
    grower.in_step()


def join(grower: Grower) -> None:
    """`more` joins; both are written while it is copied."""
    tokyo, osaka, notes = grower.tokyo, grower.osaka, grower.notes
    order = MembersJoin(volumes=[GroupVolume(index=1, name="more", size_bytes=MORE_BYTES)])
    for site in (osaka, tokyo):
        with (
            grower.writing("data", 10),
            notes.change(site.site, "members", VOLUMES, lambda appliance: commands.join(appliance, GROUP, order)),
        ):
            site.client.join_volumes(GROUP, order)
    grower.write("more", 8)
    changed = grower.life.order_resync()
    grower.pair.follow()
    grower.write("more", 8)
    grower.write("data", 8)
    wait_until(
        lambda: grower.life.consistent() and not grower.life.state(osaka).safe_point.open, 60, "the copy of more"
    )
    grower.in_step()
    with notes.change("tokyo", "epoch", None) as cleared:
        tokyo.client.clear_epoch(GROUP, EpochOrder(epoch=changed.epoch))
    notes.joined = cleared.issued_ns, notes.last_kept_ns
    for name in VOLUMES:
        grower.write(name, 15)
    grower.in_step()


def grow(grower: Grower) -> None:
    """`data` becomes longer at both sites, and is written there."""
    member = grower.tokyo.client.group(GROUP).volumes[-1].name
    for site in (grower.osaka, grower.tokyo):
        with grower.writing(member, 10):
            grower.resize_volume(site, "data", GROWN_BYTES)
    grower.write("data", 20, low=DATA_BYTES - 64 * 512)
    grower.in_step()
    grower.write("data", 15)


def leave(grower: Grower) -> None:
    """`more` is by itself again, with all that was written to it."""
    tokyo, osaka, notes = grower.tokyo, grower.osaka, grower.notes
    grower.write("more", 15)
    order = MembersLeave(volumes=["more"])
    with (
        grower.writing("data", 10),
        notes.change("tokyo", "members", ("data",), lambda appliance: commands.leave(appliance, GROUP, order)),
    ):
        sequence = tokyo.client.leave_volumes(GROUP, order).retired[1]
    grower.in_step()
    last = MembersLeave(volumes=["more"], sequence=sequence)
    with notes.change("osaka", "members", ("data",), lambda appliance: commands.leave(appliance, GROUP, last)):
        osaka.client.leave_volumes(GROUP, last)
    grower.write("data", 15)
    grower.in_step()


GROWING: tuple[Stage, ...] = (found, copy_in_band, compare_in_band, move_journals, join, grow, leave)


def record_growth(
    processes: Processes,
    directory: Path,
    seed: int,
    stages: Sequence[Stage] = GROWING,
    module: str = "",
    mutant: str = "",
) -> Growth:
    """Both controllers through these stages. `module` is run in place of the controller, as a mutant of it."""
    with logged_sites(processes, directory, seed, module, mutant) as (disks, sites):
        grower = Grower(sites, seed)
        for stage in stages:
            stage(grower)
    return Growth(disks.log(), disks.bases, grower.notes, directory)
