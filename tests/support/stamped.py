"""A protected pair under stamped writers, and cuts of its second site.

A cut freezes the secondary's controller (the one process that writes the
journal and the SVOLs there) and copies its files: what SIGKILL at that moment
would have left. On the copy, the journal is recovered and restored to its end
through the library, as a takeover does.
"""

from __future__ import annotations

import shutil
import signal
from contextlib import ExitStack
from pathlib import Path

from controller.journal.pointers import Pointer, PointerPage
from controller.journal.recovery import recover
from controller.journal.volume import JournalVolume
from controller.restore.apply import apply
from controller.volume.backing import Backing
from hostagent.cli.demo.sites import Daemon
from tests.support.replication import LinkedSites
from tests.support.stamps import Image, OrderReport, StampLog, check_order
from tests.support.waiting import wait_until
from tests.support.writers import StampedWriter

MIB = 1 << 20
VOLUMES = ("one", "two")
VOLUME_BYTES = 16 * MIB
JOURNAL_BYTES = 64 * MIB


class StampedPair:
    """A protected pair of two volumes with a stamped writer on each."""

    def __init__(self, linked: LinkedSites, stack: ExitStack) -> None:
        self.linked = linked
        self.log = StampLog()
        self.writers: list[StampedWriter] = []
        linked.pair("order", list(VOLUMES), VOLUME_BYTES, JOURNAL_BYTES)
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
