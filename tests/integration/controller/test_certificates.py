"""A controller with certificates: its data servers insist on them, and hosts do not suffer when they cannot be used."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.api.models import GroupCreate, GroupVolume, Role, VolumeCreate
from controller.certificates import Authority
from controller.copy.link import DataLink
from controller.tls import Certificates
from tests.support.controllers import ControllerProcess, controllers
from tests.support.nbdkit import connected
from tests.support.processes import alive
from tests.support.waiting import wait_until

SIZE = 16 << 20


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(Authority.open(tmp_path / "authority").issue("tokyo", []))


@pytest.fixture
def secured(directory: Path, certificates: Certificates) -> Iterator[ControllerProcess]:
    tls = f'[tls]\ndirectory = "{certificates.directory}"\n'
    with controllers(directory, "tokyo", extra=tls) as (one,):
        yield one


def test_hosts_are_served_whatever_becomes_of_the_certificates(
    secured: ControllerProcess, certificates: Certificates
) -> None:
    secured.client.create_volume(VolumeCreate(name="data", size_bytes=SIZE))
    members = [GroupVolume(index=0, name="data", size_bytes=SIZE)]
    secured.client.create_group(
        GroupCreate(name="db", uuid=str(uuid.uuid4()), role=Role.PRIMARY, peer_site="osaka", volumes=members)
    )
    wait_until(lambda: secured.client.group("db").links is not None)
    before, volume = secured.server_pid("j-db"), secured.server_pid("v-data")
    spoiled = certificates.directory / "server-cert.pem"
    good = spoiled.read_bytes()
    spoiled.write_bytes(b"spoiled")
    secured.restart()
    event = secured.wait_event("server.failed", server="j-db")
    assert "cannot use the server certificate" in event.message
    assert not alive(before)
    uri = secured.wait_served("data")
    with connected(uri) as handle:
        handle.pwrite(b"x" * 512, 0)
        handle.flush()
    assert secured.server_pid("v-data") == volume
    assert secured.client.group("db").links is None

    spoiled.write_bytes(good)
    links = wait_until(lambda: secured.client.group("db").links, 30, "the data servers to be up again")
    assert links is not None
    link = DataLink(links.volume_uris["0"], certificates=certificates)
    assert link.size_bytes == SIZE
    link.close()
    assert len(list(secured.run_directory.glob("tls-*"))) == 1
