"""Links with certificates: a pair's whole life over them, and who is refused at either link, each by its reason."""

from __future__ import annotations

import datetime
import shutil
import socket
import ssl
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from controller.api.client import ControllerClient
from controller.api.models import VolumeCreate
from controller.certificates import Authority
from controller.copy.link import DataLink
from controller.errors import PairvolError, PeerError
from controller.tls import Certificates
from hostagent.cli.demo.sites import Daemon
from hostagent.client import Agent
from tests.support.nbdkit import connected
from tests.support.replication import FAR_ADDRESS
from tests.support.secured import SecuredSites
from tests.support.waiting import wait_until

pytestmark = pytest.mark.e2e

GROUP = "db"
VOLUME_BYTES = 8 << 20
STAMP = b"only for those that may." * 64
NBD_MAGIC = b"NBDMAGICIHAVEOPT"
STARTTLS = 5


@pytest.fixture(scope="module")
def secured(session_directory: Path) -> Iterator[SecuredSites]:
    with SecuredSites(Path(tempfile.mkdtemp(prefix="s", dir=session_directory))) as sites:
        volume = sites.agents["tokyo"].create_volume(VolumeCreate(name=GROUP, size_bytes=VOLUME_BYTES))
        assert volume.uri is not None
        with connected(volume.uri) as handle:
            handle.pwrite(STAMP, 0)
        sites.pair(GROUP)
        with connected(volume.uri) as handle:
            handle.pwrite(STAMP, 1 << 20)
            handle.flush()
        sites.agents["osaka"].restore_journal(GROUP)
        yield sites


@pytest.fixture(scope="module")
def strangers(secured: SecuredSites, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Certificates]:
    """Who is none of the two sites, by what is wrong with them."""
    other = Authority.open(tmp_path_factory.mktemp("other"))
    trusting = other.issue("osaka", [FAR_ADDRESS])
    shutil.copy(secured.folder / "ca-cert.pem", trusting)  # it would take the server, but is not taken
    return {
        "of another authority": Certificates(trusting),
        "expired": Certificates(secured.authority.issue("kyoto", [FAR_ADDRESS], -datetime.timedelta(days=1))),
    }


def journal_uri(sites: SecuredSites) -> str:
    links = sites.links(sites.first, GROUP)
    assert links is not None
    return links.journal_uri


def read(uri: str, certificates: Certificates | None) -> bytes:
    """The first bytes of an export of the data link."""
    link, buffer = DataLink(uri, certificates=certificates), bytearray(4096)
    try:
        link.read_ranges([(0, len(buffer), memoryview(buffer))])
    finally:
        link.close()
    return bytes(buffer)


def test_both_sites_copied_over_tls(secured: SecuredSites) -> None:
    assert urlsplit(journal_uri(secured)).scheme == "nbds"
    backing = Path(secured.agents["osaka"].volume(GROUP).backing).read_bytes()
    assert backing[: len(STAMP)] == backing[1 << 20 :][: len(STAMP)] == STAMP
    assert read(journal_uri(secured), secured.certificates(secured.second)).strip(b"\0")


@pytest.mark.parametrize("who", ["of another authority", "expired"])
def test_a_stranger_is_refused_at_both_links(
    secured: SecuredSites, strangers: dict[str, Certificates], who: str
) -> None:
    with pytest.raises(PeerError, match="it refuses our certificate"):
        read(journal_uri(secured), strangers[who])
    with Agent(secured.url(secured.first), strangers[who]) as agent, pytest.raises(PeerError) as caught:
        agent.info()
    url = secured.controller_url(secured.second)
    with ControllerClient(url, certificates=strangers[who]) as client, pytest.raises(PeerError):
        client.site()
    with ControllerClient(url, certificates=secured.certificates(secured.first)) as client:
        assert client.site().site == "osaka"
    # The server's own word gets lost when it hangs up before the client has read it.
    assert any(words in caught.value.message for words in ("refuses our certificate", "our certificate may be"))


def test_nobody_comes_without_a_certificate(secured: SecuredSites, tmp_path: Path) -> None:
    (tmp_path / "ca-cert.pem").write_bytes((secured.folder / "ca-cert.pem").read_bytes())
    with pytest.raises(PairvolError, match=r"client-cert\.pem"):
        read(journal_uri(secured), Certificates(tmp_path))
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.load_verify_locations(tmp_path / "ca-cert.pem")
    control = (FAR_ADDRESS, secured.ports["tokyo"])
    with pytest.raises((ssl.SSLError, ConnectionError)):
        request(bare.wrap_socket(socket.create_connection(control, 5), server_hostname=FAR_ADDRESS))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        listed(bare.wrap_socket(started_tls(journal_uri(secured)), server_hostname=FAR_ADDRESS))


def test_a_plain_client_gets_nothing_at_a_tls_port(secured: SecuredSites) -> None:
    plain = journal_uri(secured).replace("nbds://", "nbd://")
    with pytest.raises(PeerError, match="server requires tls"):
        read(plain, None)
    with socket.create_connection((FAR_ADDRESS, secured.ports["tokyo"]), 5) as plainly, pytest.raises(OSError):  # noqa: PT011
        request(plainly)


def test_tls_is_never_given_up_for_a_plain_server(secured: SecuredSites) -> None:
    ours, agent_port = secured.certificates(secured.second), secured.first.agent_port
    plain = journal_uri(secured).replace("nbds://", "nbd://")
    with pytest.raises(PeerError, match="offers no tls, and this one insists on it"):
        read(plain, ours)
    with pytest.raises(PeerError, match="asks for certificates, and this one's controller has none"):
        read(journal_uri(secured), None)
    with Agent(f"https://127.0.0.1:{agent_port}", ours) as agent, pytest.raises(PeerError) as caught:
        agent.info()
    assert "it does not speak TLS there" in caught.value.message


def test_a_server_that_is_not_named_in_its_certificate_is_refused(secured: SecuredSites) -> None:
    """127.0.0.3 reaches the same server, which listens at every address; its certificate does not name it."""
    ours = secured.certificates(secured.second)
    with pytest.raises(PeerError, match=r"its certificate is refused: .* not for that host"):
        read(journal_uri(secured).replace(FAR_ADDRESS, "127.0.0.3"), ours)
    url = secured.url(secured.first).replace(FAR_ADDRESS, "127.0.0.3")
    with Agent(url, ours) as agent, pytest.raises(PeerError, match="its certificate is refused: ip address mismatch"):
        agent.info()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2])
def test_old_versions_are_refused_at_both_links(secured: SecuredSites, version: ssl.TLSVersion) -> None:
    context = secured.certificates(secured.second).client_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = version
    for raw, speak in (
        (socket.create_connection((FAR_ADDRESS, secured.ports["tokyo"]), 5), request),
        (started_tls(journal_uri(secured)), listed),
    ):
        if version is ssl.TLSVersion.TLSv1_2:
            with context.wrap_socket(raw, server_hostname=FAR_ADDRESS) as spoken:
                assert speak(spoken)
        else:
            with raw, pytest.raises((ssl.SSLError, ConnectionError)):
                context.wrap_socket(raw, server_hostname=FAR_ADDRESS)


def test_certificates_are_changed_and_roles_too(secured: SecuredSites, tmp_path: Path) -> None:
    """Both sites get certificates of a new authority; what runs is started anew with them, then osaka takes over."""
    before = shutil.copytree(secured.folder / "osaka", tmp_path / "before")
    renewed = Authority.open(tmp_path / "renewed")
    for site in secured.sites:
        shutil.copytree(renewed.issue(site.name, [FAR_ADDRESS]), secured.folder / site.name, dirs_exist_ok=True)
        for daemon in Daemon:
            site.kill(daemon)
            site.start(daemon)
    for site in secured.sites:
        site.wait_ready()
    wait_until(lambda: secured.links(secured.first, GROUP), 30, "the data servers to be up")
    with pytest.raises(PeerError):
        read(journal_uri(secured), Certificates(before))
    secured.wait_protected(GROUP)
    report = secured.agents["osaka"].take_over(GROUP)
    assert report.kind == "planned"
    for site in secured.sites:
        secured.wait_protected(GROUP, site.name)


def request(spoken: socket.socket) -> bytes:
    """What the control link answers to a question; raises when it hangs up."""
    with spoken:
        spoken.sendall(b"GET /v1/agent HTTP/1.1\r\nHost: tokyo\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: spoken.recv(4096), b""))
        if not answer:
            raise ConnectionAbortedError("hung up")
        return answer


def started_tls(uri: str) -> socket.socket:
    """A connection to a data server where NBD has agreed to start TLS."""
    parts = urlsplit(uri)
    raw = socket.create_connection((parts.hostname or "", parts.port or 0), 5)
    assert received(raw, 18)[:16] == NBD_MAGIC
    raw.sendall(struct.pack(">I", 3) + option(STARTTLS))
    assert struct.unpack(">QIII", received(raw, 20))[2] == 1  # acknowledged
    return raw


def listed(spoken: socket.socket) -> bytes:
    """The head of the answer to a question for the list of exports."""
    with spoken:
        spoken.sendall(option(3))
        return received(spoken, 20)


def option(number: int) -> bytes:
    return NBD_MAGIC[8:] + struct.pack(">II", number, 0)


def received(spoken: socket.socket, length: int) -> bytes:
    got = b""
    while len(got) < length:
        piece = spoken.recv(length - len(got))
        if not piece:
            raise ConnectionAbortedError("hung up")
        got += piece
    return got
