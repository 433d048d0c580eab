"""The parts of one host agent, put together once and handed to every command.

Owns the assembly and the lock on the state directory: two agents on one
directory would each decide for the other's pairs.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from controller import durable
from controller.api.client import ControllerClient
from controller.errors import ConflictError, PairvolError
from controller.events import Events
from controller.locks import KeyedLocks
from hostagent.api.models import Pair
from hostagent.attach.devices import Devices
from hostagent.config import Config
from hostagent.copy_manager.runner import PairRunner, Surroundings
from hostagent.copy_manager.runners import Runners
from hostagent.history.recorder import History
from hostagent.hooks.quiet import Quiet
from hostagent.hosts.adoption import Adoption
from hostagent.hosts.stand_in import forget_state, stand_in_config
from hostagent.monitor import Monitor
from hostagent.pairs import PairStore
from hostagent.peers import Peers
from hostagent.transport import Channel

CONTROLLER_SECONDS = 2.0  # for a question; orders that allocate or restore have deadlines of their own
BUSY_SECONDS = 10.0


@dataclass(frozen=True)
class Host:
    """Everything a command needs. Threads share it; each part says how."""

    config: Config
    store: PairStore
    events: Events
    controller: ControllerClient
    peers: Peers
    devices: Devices
    monitor: Monitor
    history: History
    lock_file: int
    hosts: Mapping[str, Channel] = field(default_factory=dict)  # the other hosts of this site
    stand_ins: tuple[Host, ...] = ()  # for sites whose controllers this agent reaches
    stands_in: bool = False
    runners: Runners = field(default_factory=Runners)
    locks: KeyedLocks = field(default_factory=lambda: KeyedLocks(BUSY_SECONDS))
    run: str = field(default_factory=lambda: uuid.uuid4().hex)  # another one at each start of the agent

    @cached_property
    def quiet(self) -> Quiet:
        path = self.config.state_directory / "moments.json"
        return Quiet(path, self.config.hooks, self.devices, self.events)

    @cached_property
    def adoption(self) -> Adoption:
        return Adoption(self)

    @property
    def site(self) -> str:
        return self.config.site

    @classmethod
    def open(cls, config: Config) -> Host:
        """Lock the state directory and load what is there. Starts nothing. StorageError when a file may not be used."""
        with durable.refusals(config.state_directory):
            config.state_directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock_file = lock_state(config.state_directory)
            try:
                events = Events(config.state_directory / "events.jsonl", config.site)
                reached = [site for site, peer in config.peers.items() if peer.controller is not None]
                stand_ins = tuple(cls._stand_in(stand_in_config(config, site), events) for site in reached)
                return cls._assemble(config, events, lock_file, stand_ins)
            except BaseException:
                os.close(lock_file)
                raise

    @classmethod
    def _stand_in(cls, config: Config, events: Events) -> Host:
        """An agent of another site, for the time that it has none; it tells what happens in our log."""
        forget_state(config)
        config.state_directory.mkdir(parents=True, mode=0o700)
        return cls._assemble(config, events, lock_state(config.state_directory), stands_in=True)

    @classmethod
    def _assemble(
        cls,
        config: Config,
        events: Events,
        lock_file: int,
        stand_ins: tuple[Host, ...] = (),
        *,
        stands_in: bool = False,
    ) -> Host:
        certificates = config.certificates
        devices = Devices(config.state_directory / "attachments.json", config.mount_directory)
        return cls(
            config=config,
            store=PairStore(config.state_directory / "pairs.json"),
            events=events,
            controller=ControllerClient(
                config.controller, seconds=CONTROLLER_SECONDS, site=config.site, certificates=certificates
            ),
            peers=Peers(config.site, config.peers, config.own_address, certificates),
            devices=devices,
            monitor=Monitor([config.state_directory], events.emit, devices.newly_stale),
            history=History(config.state_directory / "history", config.run_directory),
            lock_file=lock_file,
            hosts={
                name: Channel(each.agent, f"the host agent of {name}", site=config.site, certificates=certificates)
                for name, each in config.hosts.items()
            },
            stand_ins=stand_ins,
            stands_in=stands_in,
        )

    def begin_pair(self, pair: Pair) -> PairRunner:
        """Let the copy manager of a pair work."""
        other = pair.secondary.site if pair.primary.site == self.site else pair.primary.site
        around = Surroundings(
            self.site,
            self.config.copying,
            self.controller,
            self.store,
            self.events,
            self.history,
            self.config.host_name,
            self.stands_in,
        )
        return self.runners.start(PairRunner(pair, self.peers.get(other), around))

    def runner(self, group: str) -> PairRunner:
        """The runner of a pair; says why when a pair that is kept has none."""
        runner = self.runners.find(group)
        if runner is not None:
            return runner
        pair = self.store.get(group)
        for site in (pair.primary.site, pair.secondary.site):
            if site != self.site:
                self.peers.get(site)  # raises when it is not configured
        raise ConflictError(f"pair {group} is being deleted", hint="Wait a moment and ask again.")

    def close(self) -> None:
        """End what runs in this process. Devices and the servers of the controller stay."""
        for each in self.stand_ins:
            each.close()
        self.adoption.stop()
        driven = [runner.driving for runner in self.runners.all()]
        self.runners.end_all()
        self.history.close()
        for driving in driven:
            with suppress(PairvolError):
                driving.release()
        self.monitor.stop()
        self.controller.close()
        self.peers.close()
        for channel in self.hosts.values():
            channel.close()
        if not self.stands_in:
            self.events.close()
        os.close(self.lock_file)


def lock_state(directory: Path) -> int:
    """Take the lock of a state directory; ConflictError when an agent has it."""
    lock_file = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock_file)
        raise ConflictError(
            f"another host agent runs on state directory {directory}",
            hint="End that one first, or choose another state_directory.",
            path=str(directory),
        ) from None
    return lock_file
