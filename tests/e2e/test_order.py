"""Order-stamped writes to two volumes of one group: at any cut, and over any link, the second site is a prefix.

A cut freezes the secondary's controller (the one process that writes the
journal and the SVOLs there) and copies its files: what SIGKILL at that moment
would have left. On the copy, the journal is recovered and restored to its end
through the library, as a takeover does, and the images are held against the
log of all writes.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from controller.journal.pointers import Pointer, PointerPage
from controller.journal.recovery import recover
from controller.journal.volume import JournalVolume
from controller.restore.apply import apply
from controller.volume.backing import Backing
from hostagent.cli.demo.sites import Daemon
from tests.support.proxy import Faults, Proxy
from tests.support.replication import LinkedSites
from tests.support.stamps import Image, OrderReport, StampLog, check_order
from tests.support.waiting import wait_until
from tests.support.writers import StampedWriter

MIB = 1 << 20
VOLUMES = ("one", "two")
VOLUME_BYTES = 16 * MIB
CUTS = 20
KILLED_CUTS = (6, 13)  # really killed, and started again

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


class StampedPair:
    """A protected pair of two volumes with a stamped writer on each."""

    def __init__(self, linked: LinkedSites, stack: ExitStack) -> None:
        self.linked = linked
        self.log = StampLog()
        self.writers: list[StampedWriter] = []
        linked.pair("order", list(VOLUMES), VOLUME_BYTES, 64 * MIB)
        for index, name in enumerate(VOLUMES):
            uri = linked.agent(linked.first).volume(name).uri
            assert uri
            self.writers.append(stack.enter_context(StampedWriter(uri, index, self.log, seed=index)))

    def more_writes(self, count: int) -> None:
        target = self.log.acknowledged() + count

        def there() -> bool:
            for writer in self.writers:
                writer.check()
            return self.log.acknowledged() >= target

        wait_until(there, 30, f"{count} more acknowledged writes")

    def wait_moving(self, sequence: int) -> None:
        """Until the second site has read beyond a sequence: each cut is of another moment."""

        def moved() -> bool:
            sides = self.linked.journals("order")
            return sides is not None and sides[1].pointers["already_read"].sequence > sequence

        wait_until(moved, 30, f"the second site to read beyond {sequence}")

    def restored_stores(self) -> dict[str, Path]:
        agent = self.linked.agent(self.linked.second)
        return {name: Path(agent.volume(name).backing) for name in VOLUMES}

    def end_equal(self) -> None:
        """Stop the writers; both sites end equal, with every acknowledged write and no other order."""
        for writer in self.writers:
            writer.stop()
        self.linked.wait_equal("order")
        stores = self.restored_stores()
        self.linked.end_and_compare(list(VOLUMES))
        images: dict[int, Image] = {index: stores[name] for index, name in enumerate(VOLUMES)}
        report = check_order(images, self.log.writes, acknowledged_up_to_ns=self.log.writes[-1].settled_ns + 1)
        assert report.clean, report


@pytest.fixture
def stamped(linked: LinkedSites) -> Iterator[StampedPair]:
    with ExitStack() as stack:
        yield StampedPair(linked, stack)


def copy_frozen(stamped: StampedPair, directory: Path, kill: bool) -> None:
    """What SIGKILL of the secondary's controller would leave now, under `directory`."""
    site = stamped.linked.second
    group = stamped.linked.group(site, "order")
    process = site.daemon_process(Daemon.CONTROLLER)
    assert process is not None
    stores = stamped.restored_stores()
    pointers = site.state_directory(Daemon.CONTROLLER) / "groups" / "order" / "pointers"
    if kill:
        site.kill(Daemon.CONTROLLER)
    else:
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: process.status() == "stopped", 5, "the controller to stop")
    try:
        directory.mkdir()
        shutil.copy(group.journal_path, directory / "journal")
        shutil.copy(pointers, directory / "pointers")
        for name, store in stores.items():
            shutil.copy(store, directory / name)
    finally:
        if kill:
            site.start(Daemon.CONTROLLER)
            site.wait_ready()
        else:
            process.send_signal(signal.SIGCONT)


def finish_restore(directory: Path) -> tuple[int, int]:
    """Recover a copy and restore it to its end; returns (already restored before, newest)."""
    journal = JournalVolume.open(str(directory / "journal"), writable=True)
    page = PointerPage.open(str(directory / "pointers"))
    try:
        restored, read = page.read(Pointer.ALREADY_RESTORED), page.read(Pointer.ALREADY_READ)
        tail = recover(journal, restored, read)
        apply_runs(journal, directory, [(restored.sequence + 1, tail.sequence)])
        return restored.sequence, tail.sequence
    finally:
        page.close()
        journal.close()


def apply_runs(journal: JournalVolume, images: Path, runs: list[tuple[int, int]]) -> None:
    targets = {index: Backing.open(str(images / name), VOLUME_BYTES) for index, name in enumerate(VOLUMES)}
    try:
        for first, last in runs:
            if first <= last:
                apply(journal, targets, first, last)
    finally:
        for target in targets.values():
            target.close()


def check_copy(directory: Path, log: StampLog) -> OrderReport:
    return check_order({index: directory / name for index, name in enumerate(VOLUMES)}, log.cut())


def test_every_cut_of_the_second_site_is_a_prefix_of_the_writes(stamped: StampedPair, tmp_path: Path) -> None:
    newest: list[int] = []
    tails: list[int] = []
    left_to_restore = 0
    for number in range(CUTS):
        stamped.more_writes(60)
        stamped.wait_moving(tails[-1] if tails else 0)
        copy = tmp_path / f"cut{number}"
        copy_frozen(stamped, copy, kill=number in KILLED_CUTS)
        before, tail = finish_restore(copy)
        left_to_restore += tail > before
        tails.append(tail)
        report = check_copy(copy, stamped.log)
        assert report.clean, f"cut {number}: {report}"
        newest.append(report.newest)
        if number >= 2:
            shutil.rmtree(tmp_path / f"cut{number - 2}")
    assert len(set(newest)) == CUTS, f"the cuts are not {CUTS} different moments: {newest}"
    caught = control(tmp_path / f"cut{CUTS - 2}", tmp_path / f"cut{CUTS - 1}", tails[-2], tails[-1], stamped.log)
    print(f"{CUTS} cuts, writes seen up to {newest}; {left_to_restore} had journals left to restore; {caught}")
    stamped.end_equal()


def control(older: Path, newer: Path, older_tail: int, newer_tail: int, log: StampLog) -> str:
    """The checker's own proof on real files: the older cut restored on with one journal left out must be caught."""
    caught = tried = 0
    journal = JournalVolume.open(str(newer / "journal"), writable=True)
    try:
        for skip in range(older_tail + 1, min(older_tail + 11, newer_tail)):
            spoiled = older.with_name("spoiled")
            shutil.copytree(older, spoiled)
            apply_runs(journal, spoiled, [(older_tail + 1, skip - 1), (skip + 1, newer_tail)])
            tried += 1
            caught += not check_copy(spoiled, log).clean
            shutil.rmtree(spoiled)
        apply_runs(journal, older, [(older_tail + 1, newer_tail)])
        assert check_copy(older, log).clean
    finally:
        journal.close()
    assert caught, f"none of {tried} restores without one journal was seen"
    return f"control: {caught} of {tried} restores without one journal caught"


def test_a_faulty_link_leaves_no_trace(stamped: StampedPair) -> None:
    linked = stamped.linked

    def writes_under(faults: Faults, links: list[Proxy]) -> None:
        stamped.more_writes(100)
        for link in links:
            link.set(replace(faults))
        stamped.more_writes(500)  # writers never wait for the link
        broken = [link for link in links if link.faults != faults or link.corrupted]
        if faults.cut_after_bytes or faults.corrupt_at_byte:
            assert broken, f"{faults} was never reached"
        linked.set_links(Faults())
        linked.wait_restored("order", linked.newest("order"))
        linked.wait_protected("order")

    every = [*linked.control_links, *linked.data_links]
    writes_under(Faults(stalled=True), every)
    writes_under(Faults(cut_after_bytes=100_000), every)
    writes_under(Faults(latency_seconds=0.02), every)
    writes_under(Faults(corrupt_at_byte=50_000), linked.data_links)
    stamped.end_equal()
