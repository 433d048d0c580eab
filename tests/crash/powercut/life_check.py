"""What both sites must be after a power cut at any moment of a life (life.py).

* The controller starts, and is in a role and generation that was answered, or
  was being ordered: never an older one.
* What hosts read is, byte for byte, a state of the history of that
  generation: not older than what was promised, not newer than what was sent.
  So the PVOL is checkpoint plus journal.
* A secondary can be taken over (by force) with a state not older than what it
  confirmed, unless it was told to be without one; from a safe point, with
  exactly the state there.
* No write of a generation is in a volume whose controller does not know it.
* A secondary never has what its primary can forget.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

import numpy as np

from controller.api.models import Role, SplitMode
from controller.errors import ConflictError, PairvolError
from tests.crash.log_disk.disks import attached, mount, unmount, wait_free
from tests.crash.log_disk.rebuild import Images, Sparse
from tests.crash.powercut.chronicle import Chronicle
from tests.crash.powercut.life import VOLUME
from tests.crash.powercut.logged_sites import DISK_BYTES, SITES
from tests.crash.powercut.revived import Revived, revived
from tests.crash.results import Row
from tests.crash.write_path.history import numbers_in
from tests.support.lifecycle import GROUP

NEXT_GENERATION = 9  # of takeovers after a cut


class Bench:
    """Where states are laid out: the state directories of both sites, where they were while they were recorded."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._devices: dict[str, Path] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for site in SITES:
                Sparse(bytes(DISK_BYTES)).write_to(self._image(site))
                self._devices[site] = stack.enter_context(attached(self._image(site)))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *words: object) -> None:
        self._stack.close()

    @contextmanager
    def laid_out(self, images: Images) -> Iterator[None]:
        """Both disks mounted; their ext4's own journals have been replayed."""
        with ExitStack() as stack:
            for site in SITES:
                wait_free(self._devices[site])
                images[site].write_to(self._image(site))
                point = self.directory / site / "state"
                mount(self._devices[site], point)
                stack.callback(unmount, point)
            yield

    def _image(self, site: str) -> Path:
        return self.directory / f"{site}.state"


class Inquest:
    """The question put to one state of both disks, cut at `before_ns`."""

    def __init__(self, row: Row, label: str, notes: Chronicle, before_ns: int, directory: Path) -> None:
        self._row = row
        self._label = label
        self._notes = notes.cut(before_ns)
        self._before_ns = before_ns
        self._directory = directory
        self._seen: dict[str, tuple[Role | None, int, int]] = {}  # role, generation, newest write

    def hold(self) -> Chronicle:
        """Start each site and look at it. The disks are mounted.

        What is done to a site on the way, a takeover, is noted in the
        chronicle: power may be cut again meanwhile.
        """
        self._row.attempted += 1
        self._row.reached += self._notes.issued(self._before_ns) > 0
        for site in SITES:
            state = self._directory / site / "state"
            self._look_at_disk(site, state)
            try:
                with revived(state, self._directory / site / "revived", site, GROUP) as found:
                    self._look_at(site, found)
            except PairvolError as error:
                self._row.lose(f"{self._label}, {site}: {error.message}")
        self._compare()
        return self._notes

    def _look_at_disk(self, site: str, state: Path) -> None:
        """Before anything is started: no write is there of a generation that the controller has not written down."""
        try:
            group = json.loads((state / "state.json").read_bytes())["groups"][GROUP]
            numbers = numbers_in((state / "volumes" / f"{VOLUME}.img").read_bytes())
        except (OSError, ValueError, KeyError):
            return  # a start names what is missing
        newest = self._notes.history_of(min(int(np.max(numbers)), len(self._notes.writes)))
        if newest > group["generation"] and group["split"] != SplitMode.WRITE:
            words = f"a write of generation {newest}, the state is of {group['generation']}"
            self._row.disorder(f"{self._label}, {site}: {words}")

    def _look_at(self, site: str, found: Revived) -> None:
        notes, group = self._notes, found.group
        role, generation = (None, 0) if group is None else (group.role, group.generation)
        standing = notes.standing(site, self._before_ns)
        if (role, generation) not in standing.roles:
            expected = " or ".join(f"{r} of generation {g}" for r, g in standing.roles)
            self._row.lose(f"{self._label}, {site}: it is {role} of generation {generation}, not {expected}")
            return
        if group is None:
            self._look_at_lone_volume(site, found)
        elif role is Role.SECONDARY:
            self._take_over(site, found, generation)
        else:
            found.serve()
            self._judge(site, found, role, generation)

    def _look_at_lone_volume(self, site: str, found: Revived) -> None:
        if VOLUME in found.appliance.store.document.volumes:
            self._judge(site, found, None, 1)
        elif self._notes.promised(1, self._before_ns) and site == SITES[0]:
            self._row.lose(f"{self._label}, {site}: the volume is gone")

    def _take_over(self, site: str, found: Revived, generation: int) -> None:
        """A secondary shows what it is worth by being taken over."""
        split, notes = found.split_for_writing, self._notes
        act = notes.begin_act(site, Role.TAKEN_OVER, NEXT_GENERATION)
        try:
            result = found.take_over(NEXT_GENERATION)
        except ConflictError as error:
            notes.acts.remove(act)
            if not notes.may_refuse(site, self._before_ns):
                self._row.lose(f"{self._label}, {site}: cannot be taken over: {error.message}")
            return
        if split:
            generation += 1  # hosts wrote to it under the generation that is to come
        number = self._number(site, found, generation if split else 0)
        if number is None:
            return
        notes.forks[NEXT_GENERATION] = generation, number
        act.answered_ns = time.monotonic_ns()
        where = f"{self._label}, {site} taken over at {result.restored.sequence}"
        if not notes.follows(generation, number):
            self._row.disorder(f"{where}: write {number} is no part of generation {generation}")
        kept = notes.kept(site, self._before_ns)
        if number < kept and not notes.may_refuse(site, self._before_ns):
            self._row.lose(f"{where}: write {kept} was confirmed, {number} is the newest")
        if result.from_safe_point and number != kept:
            self._row.disorder(f"{where}: the safe point was at write {kept}, the volume is at {number}")
        self._seen[site] = Role.SECONDARY, generation, number

    def _judge(self, site: str, found: Revived, role: Role | None, generation: int) -> None:
        """The volume of a site that serves."""
        number = self._number(site, found, generation)
        if number is None:
            return
        notes = self._notes
        if not notes.follows(generation, number):
            self._row.disorder(f"{self._label}, {site}: write {number} is no part of generation {generation}")
        promised = self._promised(site, role, generation)
        if number < promised:
            self._row.lose(f"{self._label}, {site}: write {promised} was promised, {number} is the newest")
        self._seen[site] = role, generation, number

    def _promised(self, site: str, role: Role | None, generation: int) -> int:
        """A takeover that was under way stands where its journals led; one that was answered exactly there."""
        notes, at = self._notes, self._before_ns
        if role is not Role.TAKEN_OVER:
            return notes.promised(generation, at)
        return notes.promised(generation, at) if notes.standing(site, at).settled else notes.kept(site, at)

    def _number(self, site: str, found: Revived, generation: int) -> int | None:
        """The newest write in the volume, if that is whole as that write left it.

        Direct writes of `generation` that nobody promised may be there in
        part; the newest before them is what counts then.
        """
        notes, content = self._notes, found.read(VOLUME)
        if generation == NEXT_GENERATION:
            generation = notes.forks.get(generation, (0, 0))[0]  # nobody wrote under that one
        numbers = numbers_in(content)
        number = int(np.max(numbers))
        torn = notes.torn(generation, notes.promised(generation, self._before_ns), self._before_ns)
        if number > notes.issued(self._before_ns):
            self._row.disorder(f"{self._label}, {site}: write {number} is there, which was not sent yet")
            return None
        if torn:
            number = int(np.max(numbers[numbers < torn[0].number], initial=0))
        expected = notes.image(number)
        for write in torn:
            for lba in range(write.lba, write.lba + write.sectors):
                if numbers[lba] == write.number:
                    at = (lba - write.lba) * 512
                    expected[lba * 512 : lba * 512 + 512] = write.data[at : at + 512]
        if content != expected:
            self._row.disorder(f"{self._label}, {site}: the volume is not what write {number} left")
            return None
        return number

    def _compare(self) -> None:
        """A secondary has nothing that its primary can forget."""
        if set(self._seen) != set(SITES):
            return
        for mine, other in (SITES, SITES[::-1]):
            role, generation, number = self._seen[mine]
            other_role, other_generation, other_number = self._seen[other]
            follows = (role, other_role) == (Role.SECONDARY, Role.PRIMARY) and generation == other_generation
            if follows and number > other_number:
                words = f"{mine} has write {number}, its primary {other} only {other_number}"
                self._row.disorder(f"{self._label}: {words}")
