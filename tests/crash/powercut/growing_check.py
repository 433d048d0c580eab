"""What both sites of a growing pair (growing.py) must be after a power cut at any moment.

* Each starts, and every fact of its state is one that was answered, or was
  being ordered.
* The volumes that hosts read are together one state of the one history, not
  older than what was promised, not newer than what was sent.
* The secondary can be taken over with a state not older than what it
  confirmed; what joined is there whole, or not at all.
* A primary keeps every journal that its secondary lacks, whole; a volume that
  joined stays marked to be copied until it was.
* The secondary is never behind its primary in what it can hold: joins and
  growth come there first, a leave last.
* The last order, given again, is answered and changes no content.
"""

from __future__ import annotations

import base64
from contextlib import suppress
from pathlib import Path

import numpy as np

from controller.api.models import RestoreRequest
from controller.errors import ConflictError, NotFoundError, PairvolError
from controller.groups import commands
from controller.journal.pointers import Pointer, Position
from controller.journal.recovery import scan
from tests.crash.powercut.growing import VOLUMES
from tests.crash.powercut.growing_notes import Notes
from tests.crash.powercut.logged_sites import SITES
from tests.crash.powercut.revived import Revived, revived
from tests.crash.results import Row
from tests.crash.write_path.history import numbers_in
from tests.support.lifecycle import GROUP
from tests.support.waiting import wait_until

NEXT_GENERATION = 9
Found = dict[str, bytes]


class GrowingInquest:
    """The question put to one state of both disks, cut at `at_ns`."""

    def __init__(self, row: Row, label: str, notes: Notes, at_ns: int, directory: Path) -> None:
        self._row, self._label, self._notes = row, label, notes
        self._at_ns = at_ns
        self._directory = directory
        self._read: Position | None = None  # what the secondary has
        self._numbers: dict[str, int] = {}
        self._facts: dict[str, dict[str, object]] = {}

    def hold(self) -> None:
        """Start each site, the secondary first, and look at it. The disks are mounted."""
        self._row.attempted += 1
        self._row.reached += self._notes.latest("tokyo", self._at_ns) is not None or self._notes.kept(self._at_ns) > 0
        for site, look in (("osaka", self._look_at_secondary), ("tokyo", self._look_at_primary)):
            at = self._directory / site
            try:
                with revived(at / "state", at / "revived", site, GROUP) as found:
                    if self._hold_facts(site, found, "after the cut"):
                        look(found)
            except PairvolError as error:
                self._row.lose(f"{self._label}, {site}: {error.message}")
        self._compare()

    # -- the primary ----------------------------------------------------------

    def _look_at_primary(self, found: Revived) -> None:
        found.serve()
        self._look_at_journal(found)
        self._look_at_marks(found)
        before = self._contents(found)
        self._judge_primary(before)
        if self._give_again("tokyo", found) and self._contents(found).items() != before.items():
            after = self._contents(found)
            if any(content != after[name][: len(content)] for name, content in before.items()):
                self._row.disorder(f"{self._label}, tokyo: the order given again changed what is in a volume")

    def _judge_primary(self, contents: Found) -> None:
        notes, at = self._notes, self._at_ns
        number = max(_newest(content) for content in contents.values())
        self._numbers["tokyo"] = number
        if not self._is_state("tokyo", contents, number):
            return
        if number < notes.promised(at):
            self._row.lose(f"{self._label}, tokyo: write {notes.promised(at)} was promised, {number} is the newest")
        if number > notes.issued(at):
            self._row.disorder(f"{self._label}, tokyo: write {number} was not sent yet")

    def _look_at_journal(self, found: Revived) -> None:
        """Every journal that the secondary lacks is there, and right."""
        if self._read is None or found.group is None:
            return
        opened = found.appliance.open_groups.get(found.group)
        out, durable = opened.page.read(Pointer.JOURNAL_OUT), opened.page.read(Pointer.DURABLE)
        if out.sequence > self._read.sequence:
            self._row.lose(f"{self._label}: tokyo freed journals up to {out.sequence}, osaka has {self._read.sequence}")
            return
        tail, damage = scan(opened.journal, self._read)
        if tail.sequence < durable.sequence:
            self._row.lose(f"{self._label}: osaka needs {self._read.sequence + 1} to {durable.sequence}, but {damage}")

    def _look_at_marks(self, found: Revived) -> None:
        group = found.group
        assert group is not None
        if not any(volume.name == "more" for volume in group.volumes) or self._at_ns > self._notes.joined[0]:
            return
        marked = 0
        with suppress(NotFoundError):
            regions = commands.changed_regions(found.appliance, GROUP)
            bits = base64.b64decode(regions.volumes.get("1", ""))
            marked = sum(byte.bit_count() for byte in bits) * regions.region_bytes
        if marked < found.appliance.store.document.volume("more").size_bytes:
            self._row.lose(f"{self._label}, tokyo: more is a member, and {marked} bytes of it are marked to be copied")

    # -- the secondary --------------------------------------------------------

    def _look_at_secondary(self, found: Revived) -> None:
        group = found.group
        assert group is not None
        self._read = found.appliance.open_groups.get(group).page.read(Pointer.ALREADY_READ)
        self._give_again("osaka", found)
        notes, at = self._notes, self._at_ns
        try:
            found.take_over(NEXT_GENERATION)
        except ConflictError as error:
            if at > notes.copied_ns:
                self._row.lose(f"{self._label}, osaka: cannot be taken over: {error.message}")
            return
        contents = self._contents(found)
        if "more" in contents and not contents["more"].strip(b"\0") and at <= notes.joined[1]:
            del contents["more"]  # the state before it joined
        number = max(_newest(content) for content in contents.values())
        self._numbers["osaka"] = number
        if self._is_state("osaka", contents, number) and number < notes.kept(at):
            self._row.lose(f"{self._label}, osaka: write {notes.kept(at)} was confirmed, {number} is the newest")

    # -- both -----------------------------------------------------------------

    def _contents(self, found: Revived) -> Found:
        """What hosts read of each volume, also of one by itself."""
        document = found.appliance.store.document
        group = found.group
        members = [volume.name for volume in group.volumes] if group is not None else []
        contents = {name: found.read(name) for name in members}
        for name in set(document.volumes) - set(members):
            contents[name] = Path(document.volume(name).backing).read_bytes()
        return contents

    def _is_state(self, site: str, contents: Found, number: int) -> bool:
        """Whether the volumes are together what that write left."""
        for name, content in contents.items():
            expected = self._notes.image(VOLUMES.index(name), number, len(content))
            if content != expected:
                wrong = _first_difference(content, expected)
                self._row.disorder(f"{self._label}, {site}: {name} is not what write {number} left, at sector {wrong}")
                return False
        return True

    def _hold_facts(self, site: str, found: Revived, when: str) -> bool:
        facts = self._facts[site] = facts_of(found)
        wrong = 0
        for fact in self._notes.facts_of(site):
            allowed = self._notes.allowed(site, fact, self._at_ns)
            if facts.get(fact) not in allowed:
                wrong += 1
                self._row.lose(f"{self._label}, {site}: {fact} is {facts.get(fact)} {when}, not of {allowed}")
        return not wrong

    def _give_again(self, site: str, found: Revived) -> bool:
        """The last order that the site got, whether it was answered or not."""
        change = self._notes.latest(site, self._at_ns)
        if change is None or change.order is None:
            return False
        order = change.order

        def taken() -> bool:
            try:
                order(found.appliance)
            except ConflictError as error:
                if "restored are those" not in error.message:
                    raise
                commands.order_restore(found.appliance, GROUP, RestoreRequest())
                return False
            return True

        try:
            wait_until(taken, 10, "what is read to be restored")
        except PairvolError as error:
            self._row.lose(f"{self._label}, {site}: {change.fact} -> {change.value} again: {error.message}")
            return False
        value = facts_of(found)[change.fact]
        if value != change.value:
            self._row.lose(f"{self._label}, {site}: {change.fact} is {value}, ordered again was {change.value}")
        return True

    def _compare(self) -> None:
        if set(self._numbers) == set(SITES) and self._numbers["osaka"] > self._numbers["tokyo"]:
            osaka, tokyo = self._numbers["osaka"], self._numbers["tokyo"]
            self._row.disorder(f"{self._label}: osaka has write {osaka}, its primary only {tokyo}")
        if set(self._facts) != set(SITES):
            return
        mine, theirs = self._facts["tokyo"], self._facts["osaka"]
        if mine["size of data"] > theirs["size of data"]:  # type: ignore[operator]
            self._row.disorder(f"{self._label}: the PVOL is longer than its SVOL")
        if len(mine["members"]) > len(theirs["members"]):  # type: ignore[arg-type]
            self._row.disorder(f"{self._label}: tokyo has a member that osaka has not")


def facts_of(found: Revived) -> dict[str, object]:
    """The words of a site's state that orders change."""
    document, group = found.appliance.store.document, found.group
    if group is None:
        return {}
    return {
        "size of data": document.volume("data").size_bytes,
        "members": tuple(volume.name for volume in group.volumes),
        "journal": group.journal_bytes,
        "epoch": None,
    }


def _newest(content: bytes) -> int:
    return int(np.max(numbers_in(content)))


def _first_difference(content: bytes, expected: bytes) -> int:
    wrong = np.frombuffer(content, np.uint8) != np.frombuffer(expected, np.uint8)
    return int(np.flatnonzero(wrong)[0]) // 512
