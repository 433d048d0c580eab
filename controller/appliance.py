"""The parts of one storage controller, put together once and handed to every command.

Owns nothing but the assembly and the lock on the state directory: two
controllers on one directory would each start servers for the other's volumes.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from functools import partial

from controller import durable
from controller.config import Config
from controller.control_client import StatusCache
from controller.copy.link import DataLink
from controller.drills.images import Images
from controller.drills.leases import Leases
from controller.drills.ledger import Ledger
from controller.errors import ConflictError, DiskFullError, NotDurableError
from controller.events import Events
from controller.groups.confirmations import Confirmations
from controller.groups.drivers import Drivers
from controller.groups.files import OpenGroups
from controller.groups.modes import Modes
from controller.groups.permits import Permits
from controller.groups.rates import Rates
from controller.groups.secondary import Workers
from controller.later import Later
from controller.locks import KeyedLocks
from controller.paths import Paths
from controller.servers import Servers
from controller.state import StateStore


@dataclass(frozen=True)
class Appliance:
    """Everything a command needs. Threads share it; each part says how."""

    config: Config
    paths: Paths
    store: StateStore
    events: Events
    locks: KeyedLocks
    servers: Servers
    statuses: StatusCache
    open_groups: OpenGroups
    workers: Workers
    confirmations: Confirmations
    drivers: Drivers
    permits: Permits
    rates: Rates
    modes: Modes
    images: Images
    leases: Leases
    ledger: Ledger
    later: Later
    lock_file: int

    @classmethod
    def open(cls, config: Config) -> Appliance:
        """Lock the state directory and load the state. Starts no server and touches no volume."""
        paths = Paths(config.state_directory, config.run_directory)
        with durable.refusals(paths.state):
            paths.make()
            lock_file = lock_state(paths)
            try:
                store = StateStore.open(paths.document, config.site)
                events = Events(paths.events, config.site)
            except BaseException:
                os.close(lock_file)
                raise
        owner = {"pid": os.getpid(), "run_directory": str(config.run_directory), "listen": str(config.listener)}
        try:
            durable.write_json(paths.owner, owner)
        except DiskFullError:
            durable.rewrite_json(paths.owner, owner)  # what is here is served all the same
        except NotDurableError:
            pass  # it is read while this process lives
        return cls(
            config=config,
            paths=paths,
            store=store,
            events=events,
            locks=KeyedLocks(),
            servers=Servers(events),
            statuses=StatusCache(paths.control),
            open_groups=OpenGroups(paths),
            workers=Workers(paths, events, partial(DataLink, certificates=config.certificates)),
            confirmations=Confirmations(),
            drivers=Drivers(),
            permits=Permits(config.serve),
            rates=Rates(),
            modes=Modes(events),
            images=Images(config, paths),
            leases=Leases(),
            ledger=Ledger(paths.ledger),
            later=Later(),
            lock_file=lock_file,
        )

    def close(self, *, stop_servers: bool = False) -> None:
        """End workers and watching; servers run on unless told otherwise."""
        self.later.close()
        self.permits.close()
        self.leases.close()
        self.images.close(stop=stop_servers)
        self.workers.stop_all()
        if stop_servers:
            self.servers.stop_all()
        else:
            self.servers.leave_all()
        self.open_groups.close()
        self.events.close()
        os.close(self.lock_file)


def lock_state(paths: Paths) -> int:
    """Take the lock of a state directory; ConflictError when a controller has it."""
    lock_file = os.open(paths.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock_file)
        raise ConflictError(
            f"another controller runs on state directory {paths.state}",
            hint="End that one first, or choose another state_directory.",
            path=str(paths.state),
        ) from None
    return lock_file
