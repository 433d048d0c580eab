"""Controllers and servers that die, and what goes on."""

from __future__ import annotations

import os
import signal
import socket
import struct
import uuid
from urllib.parse import urlsplit

import pytest

from controller.api.models import GroupCreate, GroupVolume, Role, ServerState, VolumeCreate
from controller.errors import ConflictError
from tests.support.controllers import ControllerProcess
from tests.support.nbdkit import connected
from tests.support.processes import alive
from tests.support.waiting import wait_until

SIZE = 16 << 20
SERVERS = ("v-data", "j-db", "p-db")


@pytest.fixture
def paired(tokyo: ControllerProcess) -> ControllerProcess:
    """A controller with one volume in a primary group."""
    tokyo.client.create_volume(VolumeCreate(name="data", size_bytes=SIZE))
    members = [GroupVolume(index=0, name="data", size_bytes=SIZE)]
    tokyo.client.create_group(
        GroupCreate(name="db", uuid=str(uuid.uuid4()), role=Role.PRIMARY, peer_site="osaka", volumes=members)
    )
    return tokyo


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_servers_outlive_their_controller_and_are_adopted(paired: ControllerProcess, number: signal.Signals) -> None:
    before = {server: paired.server_pid(server) for server in SERVERS}
    links = paired.client.group("db").links
    uri = paired.client.volume("data").uri
    assert uri is not None
    with connected(uri) as handle:
        paired.kill(number)
        handle.pwrite(b"x" * 512, 0)
        paired.start()
        for server in SERVERS:
            paired.wait_event("server.adopted", server=server)
        handle.pwrite(b"y" * 512, 512)
        handle.flush()
        assert paired.client.state("db", after=1, wait=20).pointers["durable"].sequence == 2
    assert {server: paired.server_pid(server) for server in SERVERS} == before
    assert paired.client.group("db").links == links


def test_a_server_that_dies_is_started_again(paired: ControllerProcess) -> None:
    uri = paired.client.volume("data").uri
    assert uri is not None
    with connected(uri) as handle:
        handle.pwrite(b"z" * 4096, 4096)
        handle.flush()
    for server in SERVERS:
        pid = paired.server_pid(server)
        os.kill(pid, signal.SIGKILL)
        event = paired.wait_event("server.died", pid=pid)
        assert event.facts["server"] == server
    wait_until(lambda: paired.client.volume("data").server is ServerState.RUNNING)
    wait_until(lambda: paired.client.group("db").links is not None)
    with connected(uri) as handle:
        assert bytes(handle.pread(4096, 4096)) == b"z" * 4096


def test_a_taken_port_is_replaced_by_another(paired: ControllerProcess) -> None:
    links = paired.client.group("db").links
    assert links is not None
    paired.kill()
    port = int(links.journal_uri.split(":")[2].split("/")[0])
    pid = paired.server_pid("j-db")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid))
    with socket.create_server(("127.0.0.1", port)):
        paired.start()
        found = wait_until(lambda: paired.client.group("db").links)
        assert found is not None
        assert found.journal_uri != links.journal_uri
        with connected(found.journal_uri) as handle:
            assert bytes(handle.pread(8, 0)) == b"PVOLJRNL"


def test_a_second_controller_on_the_same_state_is_refused(tokyo: ControllerProcess) -> None:
    from controller.appliance import Appliance
    from controller.config import load

    with pytest.raises(ConflictError, match="another controller runs on state directory"):
        Appliance.open(load(tokyo.config))


def test_shutdown_ends_every_server(paired: ControllerProcess) -> None:
    pids = [paired.server_pid(server) for server in SERVERS]
    paired.client.shutdown()
    wait_until(lambda: not any(map(alive, pids)))


@pytest.mark.parametrize("server", ["j-db", "p-db"])
def test_a_server_survives_clients_that_hang_up_with_requests_in_flight(paired: ControllerProcess, server: str) -> None:
    links = paired.client.group("db").links
    assert links is not None
    address = urlsplit(links.journal_uri if server == "j-db" else links.volume_uris["0"])
    assert address.hostname is not None
    assert address.port is not None
    pid = paired.server_pid(server)
    export = address.path.lstrip("/").encode()
    for _ in range(40):
        with socket.create_connection((address.hostname, address.port), 10) as client:
            client.sendall(struct.pack(">I", 3) + b"IHAVEOPT" + struct.pack(">II", 1, len(export)) + export)
            assert client.recv(18, socket.MSG_WAITALL).startswith(b"NBDMAGIC")
            for cookie in range(16):  # reads of 1 MiB, and nobody to take the answers
                client.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 0, cookie, cookie << 18, 1 << 20))
            client.recv(1000)
    assert alive(pid)
    assert paired.server_pid(server) == pid
