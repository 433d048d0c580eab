"""Certificates: made, checked, and refused each for the right reason, over real handshakes in memory."""

from __future__ import annotations

import datetime
import errno
import itertools
import os
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controller.certificates import Authority, expires
from controller.errors import StorageError, UsageError
from controller.tls import Certificates, End, words_of

DAY = datetime.timedelta(days=1)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.open(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def tokyo(authority: Authority) -> Certificates:
    return Certificates(authority.issue("tokyo", ["192.0.2.1", "tokyo.example"]))


@pytest.fixture(scope="module")
def osaka(authority: Authority) -> Certificates:
    return Certificates(authority.issue("osaka", ["192.0.2.2"]))


def meet(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> bytes:
    """Both ends of a connection in memory; what the server heard after a handshake, both ends' refusals raised."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    shaken: set[int] = set()
    for _ in range(8):
        for number, end in enumerate(ends):
            try:
                end.do_handshake()
                shaken.add(number)
            except ssl.SSLWantReadError:
                pass
    assert shaken == {0, 1}
    ends[0].write(b"hello")
    return ends[1].read(5)


def test_two_sites_of_one_authority_meet(tokyo: Certificates, osaka: Certificates) -> None:
    for host in ("192.0.2.1", "tokyo.example", "127.0.0.1", "localhost", "::1"):
        assert meet(tokyo.server_context(), osaka.client_context(), host) == b"hello"


def test_a_server_that_is_not_who_was_called_is_refused(tokyo: Certificates, osaka: Certificates) -> None:
    with pytest.raises(ssl.SSLError) as caught:
        meet(tokyo.server_context(), osaka.client_context(), "192.0.2.2")
    assert words_of(caught.value).startswith("its certificate is refused: ip address mismatch")


def test_another_authority_is_refused_at_both_ends(tokyo: Certificates, tmp_path: Path) -> None:
    stranger = Certificates(Authority.open(tmp_path).issue("osaka", ["192.0.2.2"]))
    with pytest.raises(ssl.SSLError) as caught:
        meet(stranger.server_context(), tokyo.client_context(), "192.0.2.2")
    assert "its certificate is refused" in words_of(caught.value)
    trusting = stranger.client_context()
    trusting.load_verify_locations(tokyo.directory / "ca-cert.pem")
    with pytest.raises(ssl.SSLError) as caught:
        meet(tokyo.server_context(), trusting, "192.0.2.1")
    assert "its certificate is refused" in words_of(caught.value)


def test_expired_and_swapped_certificates_are_refused(tokyo: Certificates, authority: Authority) -> None:
    old = Certificates(authority.issue("kyoto", ["192.0.2.3"], -DAY))
    assert expires(old.directory / End.CLIENT.certificate) < datetime.datetime.now(datetime.UTC)
    with pytest.raises(ssl.SSLError) as caught:
        meet(tokyo.server_context(), old.client_context(), "192.0.2.1")
    assert words_of(caught.value) == "its certificate is refused: certificate has expired"
    with pytest.raises(ssl.SSLError) as caught:
        meet(old.server_context(), tokyo.client_context(), "192.0.2.3")
    assert words_of(caught.value) == "its certificate is refused: certificate has expired"
    used_as_client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    used_as_client.load_verify_locations(tokyo.directory / "ca-cert.pem")
    used_as_client.load_cert_chain(tokyo.directory / "server-cert.pem", tokyo.directory / "server-key.pem")
    with pytest.raises(ssl.SSLError) as caught:
        meet(tokyo.server_context(), used_as_client, "192.0.2.1")
    assert "its certificate is refused" in words_of(caught.value)


def test_nobody_comes_without_a_certificate_or_with_old_tls(tokyo: Certificates, osaka: Certificates) -> None:
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.load_verify_locations(tokyo.directory / "ca-cert.pem")
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        meet(tokyo.server_context(), bare, "192.0.2.1")
    assert osaka.client_context().minimum_version is ssl.TLSVersion.TLSv1_2
    assert tokyo.server_context().minimum_version is ssl.TLSVersion.TLSv1_2


def _remove(path: Path) -> None:
    path.unlink()


def _expose(path: Path) -> None:
    path.chmod(0o644)


def _spoil(path: Path) -> None:
    path.write_text("no key")
    path.chmod(0o600)


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        ("ca-cert.pem", _remove, "ca-cert.pem: no such file"),
        ("client-key.pem", _expose, "client-key.pem is open to others .mode 0644."),
        ("server-key.pem", _spoil, "cannot use the server certificate"),
        ("client-cert.pem", _spoil, "cannot use the client certificate"),
    ],
)
def test_files_that_cannot_be_used_are_named(
    tmp_path: Path, name: str, damage: Callable[[Path], None], words: str
) -> None:
    certificates = Certificates(Authority.open(tmp_path).issue("tokyo", []))
    certificates.check()
    damage(certificates.directory / name)
    with pytest.raises(UsageError, match=words) as caught:
        certificates.check()
    assert caught.value.hint


def test_an_authority_is_made_once_and_renews(tmp_path: Path) -> None:
    first = Authority.open(tmp_path)
    folder = first.issue("tokyo", ["192.0.2.1"])
    digest = Certificates(folder).digest()
    assert Authority.open(tmp_path).issue("tokyo", ["192.0.2.1"]) == folder
    assert Certificates(folder).digest() != digest
    assert (folder / "ca-cert.pem").read_bytes() == (tmp_path / "ca-cert.pem").read_bytes()
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in ("ca-key.pem", "tokyo/server-key.pem")} == {0o600}
    (tmp_path / "ca-key.pem").write_bytes((folder / "client-key.pem").read_bytes())
    with pytest.raises(UsageError, match="do not belong together"):
        Authority.open(tmp_path)
    with pytest.raises(UsageError, match="is not a host"):
        first.issue("tokyo", ["tökyo"])


def test_an_authority_that_the_disk_refused_is_made_when_it_is_ordered_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each sync in turn: whatever is there of the folder then, the next order finishes it."""
    sync, syncs = os.fsync, itertools.count(1)
    for refused in itertools.count(1):
        folder, met = tmp_path / str(refused), itertools.count(1)

        def fail(file: int, met: Iterator[int] = met, refused: int = refused) -> None:
            if next(met) == refused:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            sync(file)

        with monkeypatch.context() as disk:
            disk.setattr(os, "fsync", fail)
            try:
                Authority.open(folder).issue("tokyo", [])
            except StorageError:
                next(syncs)
            else:
                break
        Certificates(Authority.open(folder).issue("tokyo", [])).check(End.SERVER)
    assert next(syncs) > 10
