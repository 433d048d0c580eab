"""Serves volumes: hands the plans to the keepers and speaks to live volume servers.

Owns the order that makes it safe: a server's document is durable before the
server starts or is commanded, so that a server which restarts by itself never
does less than the last command said. Must not decide what is to be served.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Any, Final

from controller import control_client, durable, plans
from controller.addresses import free_port, port_is_free
from controller.appliance import Appliance
from controller.errors import ConflictError, NotFoundError, PairvolError
from controller.server_plan import ServerPlan
from controller.state import GroupRecord
from controller.tls import End
from controller.units import counted
from controller.volume.refusals import named

READY_PROBE_SECONDS: Final = 1.0
LEAVE_SECONDS: Final = 0.5
_COMMANDS: Final = {
    "journal_port": plans.journal_command,
    "volume_port": plans.source_command,
    "relay_port": plans.relay_command,
}
_telling: Final = threading.Lock()


def told(appliance: Appliance, server: str) -> plans.ServerDocument | None:
    """What a volume server was last told; a fact about what it may have open."""
    try:
        document: plans.ServerDocument = durable.read_json(appliance.paths.server_document(server))
    except NotFoundError:
        return None
    return document


def tell(appliance: Appliance, server: str, document: plans.ServerDocument) -> None:
    """Make what a volume server is told durable."""
    path = appliance.paths.server_document(server)
    if told(appliance, server) != document:
        durable.write_json(path, document)
    else:  # whoever told it may have failed, or died, before its name was durable
        with durable.refusals(path):
            durable.sync_directory(path.parent)


def serve(appliance: Appliance, server: str, document: plans.ServerDocument) -> None:
    """Begin to keep a volume server; returns at once."""
    appliance.paths.check_server(server)
    tell(appliance, server, document)
    appliance.servers.keep(_volume_plan(appliance, server))


def prepare(appliance: Appliance, server: str) -> None:
    """Have a volume server load its program, if none does: `serve` then has it serve the sooner. Returns at once."""
    with suppress(OSError):  # no file is left for it: `serve` does without
        appliance.servers.prepare(_volume_plan(appliance, server))


def _volume_plan(appliance: Appliance, server: str) -> ServerPlan:
    paths, config = appliance.paths, appliance.config

    def ready() -> bool:
        with suppress(PairvolError):
            control_client.command(paths.control(server), "status", READY_PROBE_SECONDS)
            return True
        return False

    def bring_home() -> None:
        """Clients that stay connected make nbdkit linger until it is killed: have nothing left to lose then."""
        with suppress(PairvolError):
            control_client.command(paths.control(server), "checkpoint")

    return ServerPlan(
        id=server,
        pidfile=paths.pidfile(server),
        log=paths.server_log(server),
        command=lambda: plans.volume_command(server, config, paths),
        ready=ready,
        leftovers=(paths.socket(server), paths.control(server)),
        environment=plans.plugin_environment(),
        before_stop=bring_home,
        start_seconds=config.servers.start_seconds,
        stop_seconds=config.servers.stop_seconds,
    )


def wait_served(appliance: Appliance, server: str) -> None:
    """Wait until a server answers; PeerError when it does not."""
    appliance.servers.wait_ready(server, appliance.config.servers.start_seconds)


def retire(appliance: Appliance, server: str) -> None:
    """End a volume server and forget what it was told."""
    appliance.servers.stop(server)
    appliance.statuses.forget(server)
    durable.remove(appliance.paths.server_document(server))


def command(appliance: Appliance, server: str, name: str, **arguments: Any) -> dict[str, Any]:
    """Command a live volume server."""
    try:
        return control_client.command(appliance.paths.control(server), name, **arguments)
    except PairvolError as error:
        group = plans.group_served(appliance.store.document, server)
        raise named(error, group.name if group is not None else server) from error
    finally:
        appliance.statuses.forget(server)


def refuse_connected(appliance: Appliance, server: str, doing: str, volume: str | None = None) -> None:
    """ConflictError when a client is connected to a volume (None: any) of a server, and does not go in a moment.

    A client that has just hung up is still counted until its server noticed.
    """
    deadline = time.monotonic() + LEAVE_SECONDS
    while True:
        try:
            status = appliance.statuses.get(server, fresh=True)
        except PairvolError:
            return  # nobody is connected to a server that is down
        asked = [each for each in status["volumes"] if volume in (None, each["name"])]
        connected = next((each for each in asked if each["connections"]), None)
        if connected is None:
            return
        if time.monotonic() > deadline:
            raise ConflictError(
                f"cannot {doing}: {counted(connected['connections'], 'client')} connected to volume "
                f"{connected['name']} at {appliance.config.site}",
                hint=f'Unmount it there and detach it, "pairvol volume detach {connected["name"]}", then try again.',
                volume=connected["name"],
                connections=connected["connections"],
            )
        time.sleep(LEAVE_SECONDS / 10)


def serve_journal(appliance: Appliance, group: GroupRecord) -> None:
    """Begin to keep the servers from which the other site reads a primary group; returns at once."""
    _keep_tcp(appliance, group.name, plans.journal_server(group.name), "journal_port")
    _keep_tcp(appliance, group.name, plans.source_server(group.name), "volume_port")
    if plans.compresses(group, appliance.config):
        serve_relay(appliance, group)


def retire_journal(appliance: Appliance, group: str) -> None:
    """End the servers from which the other site reads."""
    retire_relay(appliance, group)
    for server in (plans.journal_server(group), plans.source_server(group)):
        appliance.servers.stop(server)


def serve_relay(appliance: Appliance, group: GroupRecord) -> None:
    """Begin to keep the relay through which the other site reads a group compressed; returns at once."""
    _keep_tcp(appliance, group.name, plans.relay_server(group.name), "relay_port")


def retire_relay(appliance: Appliance, group: str) -> None:
    """End it; a group without one is no error."""
    retire(appliance, plans.relay_server(group))


def _keep_tcp(appliance: Appliance, group: str, server: str, key: str) -> None:
    paths, config = appliance.paths, appliance.config
    build = _COMMANDS[key]

    def command_line() -> list[str]:
        choose_port(appliance, group, key)
        _lead_to_certificates(appliance)
        _tell_relay(appliance, group)
        return build(appliance.store.document.group(group), config, paths)

    def usable(found: list[str]) -> bool:
        """A process at another port than the one we tell the other site is of no use."""
        return found == build(appliance.store.document.group(group), config, paths)

    appliance.servers.keep(
        ServerPlan(
            id=server,
            pidfile=paths.pidfile(server),
            log=paths.server_log(server),
            command=command_line,
            usable=usable,
            environment=plans.plugin_environment() if key == "relay_port" else {},
            start_seconds=config.servers.start_seconds,
            stop_seconds=config.servers.stop_seconds,
            stateless=True,
        )
    )


def _lead_to_certificates(appliance: Appliance) -> None:
    """Make the name under which a server is told of the certificates; UsageError when they cannot be used."""
    certificates = appliance.config.certificates
    if certificates is None:
        return
    certificates.check(End.SERVER)
    link = appliance.paths.certificates(certificates.digest())
    for known in appliance.paths.run.glob("tls-*"):
        with suppress(FileNotFoundError):  # two servers start side by side
            if known != link or known.readlink() != certificates.directory:
                known.unlink()  # servers have read what they need at their start
    with suppress(FileExistsError):
        link.symlink_to(certificates.directory)


def _tell_relay(appliance: Appliance, group: str) -> None:
    """Where it reads: a server that starts may have got another port."""
    with _telling:
        now = appliance.store.document.group(group)
        if plans.compresses(now, appliance.config):
            tell(appliance, plans.relay_server(group), plans.relay_targets(now, appliance.config))


def choose_port(appliance: Appliance, group: str, key: str) -> None:
    """Keep the port of a group's server when it is free; else choose another, durably."""
    host = appliance.config.data_address
    with appliance.store.change() as document:
        record = document.group(group)
        port = getattr(record, key)
        if port is None or not port_is_free(host, port):
            setattr(record, key, free_port(host, document.ports()))
