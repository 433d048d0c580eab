"""The database as a service of one host at a time: volumes attached and mounted, the server on top.

Both hosts are this machine, so the mount points are the same at both sites;
only one of them has the volumes mounted at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from controller.api.models import VolumeCreate
from hostagent.api.models import AttachOrder
from hostagent.cli.demo import devices
from hostagent.cli.demo.sites import Site
from hostagent.client import Agent
from tests.postgres.cluster import Cluster
from tests.support.filesystem import run

MIB = 1 << 20
VOLUMES = {"data": 256 * MIB, "log": 64 * MIB}


class Service:
    def __init__(self, directory: Path) -> None:
        self.points = {name: directory / "mnt" / name for name in VOLUMES}
        for point in self.points.values():
            point.mkdir(parents=True)
        self.cluster = Cluster(self.points["data"], self.points["log"], directory / "postgres")

    def create(self, agent: Agent) -> None:
        """Volumes, file systems and an empty cluster, running."""
        for name, size in VOLUMES.items():
            agent.create_volume(VolumeCreate(name=name, size_bytes=size))
            device = agent.attach(AttachOrder(volume=name)).device
            assert device is not None
            run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", device)
            run("mount", device, self.points[name])
        self.cluster.create()
        self.cluster.start()

    def up(self, agent: Agent) -> None:
        """What a host that takes over does: attach, mount, start."""
        self.mount({name: agent.attach(AttachOrder(volume=name)).device or "" for name in VOLUMES})
        self.cluster.start()

    def mount(self, sources: Mapping[str, str], *options: str) -> None:
        for name, source in sources.items():
            run("mount", "-t", "ext4", *options, source, self.points[name])

    def unmount(self) -> None:
        for point in self.points.values():
            if point.is_mount():
                run("umount", point)

    def down(self, agent: Agent) -> None:
        """The other way round, in order."""
        self.cluster.stop()
        self.unmount()
        for name in VOLUMES:
            agent.detach(name)

    def pull_away(self, agent: Agent) -> None:
        """As down, after the volumes stopped taking writes under a running server."""
        self.cluster.kill()
        self.unmount()
        for name in VOLUMES:
            agent.detach(name)

    def lose(self, site: Site) -> None:
        """The host dies with its site: everything at once, nothing in order."""
        site.kill_site()
        self.cluster.kill()
        devices.release(site.directory)

    def end(self) -> None:
        """After a failure in the middle: nothing stays mounted, nothing runs."""
        self.cluster.kill()
        for point in self.points.values():
            if point.is_mount():
                run("umount", "--lazy", point)
