"""A site after a power cut, brought up in this process by the controller's own start.

Everything of the controller is the product's: its state, what it settles,
its commands. Only processes are missing: a volume server is the same write
path in this process, commanded through the same table, and nobody reads over
a network. A start takes milliseconds, so that hundreds of states can be tried.
"""

from __future__ import annotations

import json
import logging
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from controller import appliance as assembly
from controller import control_client, plans
from controller import settle as settling
from controller.api.lifecycle import ServeOrder
from controller.api.models import Role, ServerState, SplitMode, TakeoverRequest, TakeoverResult
from controller.appliance import Appliance
from controller.config import Config, ReturnSettings
from controller.errors import PairvolError, PeerError
from controller.events import Events
from controller.groups import commands
from controller.server_plan import ServerPlan
from controller.state import GroupRecord
from controller.volume.settings import load
from controller.volume.write_path import WritePath
from nbd_plugin.control import Commands
from nbd_plugin.exports import Exports

SETTLE_SECONDS = 60.0

logging.getLogger("pairvol").addHandler(logging.NullHandler())  # its events are in its event log

_commanded: dict[Path, Commands] = {}  # by control socket, of both sites


class OwnServers:
    """In place of controller.servers.Servers."""

    def __init__(self, events: Events) -> None:
        self._lock = threading.RLock()
        self._plans: dict[str, ServerPlan] = {}
        self._open: dict[str, WritePath] = {}
        self._failures: dict[str, PairvolError] = {}

    def keep(self, plan: ServerPlan) -> None:
        with self._lock:
            if plan.id in self._plans:
                return
            self._plans[plan.id] = plan
            if not plan.id.startswith(("v-", "g-")):
                return
            told = next(word for word in plan.command() if word.startswith("config=")).removeprefix("config=")
            try:
                self._open[plan.id] = path = WritePath.open(load(told))
            except PairvolError as error:
                self._failures[plan.id] = error
                return
            _commanded[plan.leftovers[1]] = Commands(path, Exports(path.volumes.values()))

    def prepare(self, plan: ServerPlan) -> None:
        """No process, none that is started early."""

    def wait_ready(self, server: str, seconds: float) -> None:
        with self._lock:
            if server in self._failures:
                raise PeerError(f"server {server} does not start: {self._failures[server].message}")
            assert server in self._plans

    def find(self, server: str) -> ServerPlan | None:
        with self._lock:
            return self._plans.get(server)

    def state(self, server: str) -> ServerState:
        return ServerState.RUNNING if server in self._open else ServerState.STOPPED

    def failure(self, server: str) -> str | None:
        found = self._failures.get(server)
        return found.message if found is not None else None

    def stop(self, server: str) -> None:
        with self._lock:
            plan = self._plans.pop(server, None)
            self._failures.pop(server, None)
            path = self._open.pop(server, None)
            if plan is not None and plan.leftovers:
                _commanded.pop(plan.leftovers[1], None)
        if path is not None:
            path.close()

    def stop_all(self) -> None:
        for server in list(self._plans):
            self.stop(server)

    leave_all = stop_all

    def read(self, server: str, volume: str) -> bytes:
        """All that a host would read."""
        self.wait_ready(server, 0)
        path = self._open[server]
        served = path.volumes[volume]
        content = bytearray(served.size_bytes)
        path.read(served, memoryview(content), 0)
        return bytes(content)


def _command(path: Path, name: str, timeout_seconds: float = 0.0, **arguments: Any) -> dict[str, Any]:
    """In place of control_client.command."""
    served = _commanded.get(path)
    if served is None:
        raise PeerError(f"volume server at {path} did not take {name}: nobody is there")
    answer = served.answer(json.dumps({"command": name, **arguments}).encode())
    if not answer.get("ok"):
        raise control_client._error(answer, name)
    return dict(answer)


@dataclass
class Revived:
    """A started site. `group` is what it says it is; None when it has no such group."""

    appliance: Appliance
    name: str

    @property
    def group(self) -> GroupRecord | None:
        return self.appliance.store.document.groups.get(self.name)

    def serve(self) -> None:
        """The order that a returning primary waits for."""
        group = self.group
        assert group is not None
        if group.role is Role.PRIMARY:
            commands.serve(self.appliance, self.name, ServeOrder(generation=group.generation))

    def take_over(self, generation: int) -> TakeoverResult:
        return commands.take_over(self.appliance, self.name, TakeoverRequest(generation=generation, force=True))

    def read(self, volume: str) -> bytes:
        group, servers = self.group, self.appliance.servers
        assert isinstance(servers, OwnServers)
        record = self.appliance.store.document.volume(volume)
        server = plans.own_server(record) if group is None else plans.group_server(group)
        return servers.read(server, volume)

    @property
    def split_for_writing(self) -> bool:
        return self.group is not None and self.group.split is SplitMode.WRITE


@contextmanager
def revived(state: Path, run: Path, site: str, group: str) -> Iterator[Revived]:
    """Start a site on its state directory, with an empty run directory, as after a boot; all is closed at the end."""
    shutil.rmtree(run, ignore_errors=True)
    config = Config(
        site=site, state_directory=state, run_directory=run, serve=ReturnSettings(alone=False, alone_after_seconds=0)
    )
    with (
        patch.object(assembly, "Servers", OwnServers),
        patch.object(control_client, "command", _command),
        patch.object(settling, "stop_strays", lambda run, kept: []),
    ):
        appliance = Appliance.open(config)
        try:
            thread = settling.settle(appliance)
            thread.join(SETTLE_SECONDS)
            assert not thread.is_alive(), f"{site} does not settle"
            yield Revived(appliance, group)
        finally:
            appliance.close(stop_servers=True)
