"""A mounted file system goes on through the death of every daemon and of the link, and both sites end equal."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostagent.api.models import PairStatus
from hostagent.cli.demo.sites import Daemon
from tests.support.filesystem import mounted_ext4, run
from tests.support.proxy import Faults
from tests.support.replication import LinkedSites
from tests.support.waiting import wait_until
from tests.support.writers import RecordWriter, count_records

MIB = 1 << 20
RECORDS = 40  # fsynced between any two events

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.root]


def link_is_down(status: PairStatus | None) -> bool:
    """Whether a status says that the other site cannot be reached, and since when."""
    return (
        status is not None
        and status.verdict != "OK"
        and any(side.unknown_since_ns for side in status.sides)
        and bool(status.last_contact_ns)
    )


def test_ext4_through_the_death_of_every_daemon_and_of_the_link(linked: LinkedSites, short_path: Path) -> None:
    linked.pair("db", ["data"], 192 * MIB, 64 * MIB)
    with (
        mounted_ext4(linked.agent(linked.first), "data", short_path / "mnt") as point,
        RecordWriter(point / "records") as writer,
    ):
        writer.wait_for_more(RECORDS)
        for site in linked.sites:
            for daemon in Daemon:
                site.kill(daemon)
                writer.wait_for_more(RECORDS)  # the host's writes do not need it
                site.start(daemon)
                site.wait_ready()
                writer.wait_for_more(RECORDS)
                linked.wait_restored("db", linked.newest("db"))
                linked.wait_protected("db")

        linked.set_links(Faults(cut=True))
        wait_until(lambda: link_is_down(linked.status("db")), 15, "status to say that the link is down")
        writer.wait_for_more(RECORDS)
        linked.set_links(Faults())
        linked.wait_restored("db", linked.newest("db"))
        linked.wait_protected("db")

    linked.wait_equal("db")
    store = Path(linked.agent(linked.second).volume("data").backing)
    linked.end_and_compare(["data"])
    run("e2fsck", "-fn", store)
    assert count_records(run("debugfs", "-R", "cat /records", store)) == writer.acknowledged
