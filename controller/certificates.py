"""Makes the certificates of sites that replicate to each other, and says when they expire.

Owns a folder that only an administrator has: an authority (ca-cert.pem,
ca-key.pem) and, for each site, a folder in the layout that
controller/tls.py reads. Daemons use what it made and never make any.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from controller.durable import hint_for, write_bytes
from controller.errors import StorageError, UsageError
from controller.tls import CA, End, check_file

AUTHORITY_KEY: Final = "ca-key.pem"
AUTHORITY_DAYS: Final = 3650
SITE_DAYS: Final = 730
SKEW: Final = datetime.timedelta(hours=1)  # the other site's clock may be behind
HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*")
HERE: Final = ("localhost", "127.0.0.1", "::1")  # for commands on the machine itself, and ends of tunnels
USAGES: Final = {End.SERVER: ExtendedKeyUsageOID.SERVER_AUTH, End.CLIENT: ExtendedKeyUsageOID.CLIENT_AUTH}


@dataclass(frozen=True, slots=True)
class Authority:
    """Signs the certificates of sites. Whoever has its key can be any of them."""

    directory: Path
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def open(cls, directory: Path) -> Authority:
        """The authority of a folder; made when there is none, and finished when the disk refused its certificate."""
        certificate, key = directory / CA, directory / AUTHORITY_KEY
        if not certificate.exists() and not key.exists():
            _make(directory)
            _write_key(key, ec.generate_private_key(ec.SECP256R1()))
        check_file(key, secret=True)
        try:
            loaded = serialization.load_pem_private_key(key.read_bytes(), None)
            if not certificate.exists() and isinstance(loaded, ec.EllipticCurvePrivateKey):
                return cls._create(directory, loaded)
            check_file(certificate)
            signed = x509.load_pem_x509_certificate(certificate.read_bytes())
            public = signed.public_key()
            if not (isinstance(loaded, ec.EllipticCurvePrivateKey) and isinstance(public, ec.EllipticCurvePublicKey)):
                raise ValueError("they are of another kind")
            if loaded.public_key().public_numbers() != public.public_numbers():
                raise ValueError("they do not belong together")
        except (ValueError, TypeError) as error:
            raise UsageError(
                f"cannot use {CA} and {AUTHORITY_KEY} in {directory}: {error}",
                hint="Name a folder that this command made, or a new one.",
                path=str(directory),
            ) from error
        return cls(directory, signed, loaded)

    @classmethod
    def _create(cls, directory: Path, key: ec.EllipticCurvePrivateKey) -> Authority:
        name = _name("pairvol authority")
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        certificate = (
            _builder(name, name, key, datetime.timedelta(days=AUTHORITY_DAYS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(key, hashes.SHA256())
        )
        write_bytes(directory / CA, certificate.public_bytes(serialization.Encoding.PEM))
        return cls(directory, certificate, key)

    def issue(
        self, site: str, addresses: Sequence[str], life: datetime.timedelta = datetime.timedelta(days=SITE_DAYS)
    ) -> Path:
        """Make (or renew) a site's folder; `addresses` are the hosts at which others call it."""
        folder = self.directory / site
        names = list(_hosts(addresses))
        _make(folder)
        write_bytes(folder / CA, self.certificate.public_bytes(serialization.Encoding.PEM))
        for end in End:
            key = ec.generate_private_key(ec.SECP256R1())
            authority_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
            certificate = (
                _builder(_name(f"{site} {end}"), self.certificate.subject, key, life)
                .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
                .add_extension(x509.ExtendedKeyUsage([USAGES[end]]), critical=False)
                .add_extension(x509.SubjectAlternativeName(names), critical=False)
                .add_extension(authority_id, critical=False)
                .sign(self.key, hashes.SHA256())
            )
            _write_key(folder / end.key, key)
            write_bytes(folder / end.certificate, certificate.public_bytes(serialization.Encoding.PEM))
        return folder


def expires(certificate: Path) -> datetime.datetime:
    """When the first certificate of a file expires (UTC)."""
    check_file(certificate)
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
    except ValueError as error:
        raise UsageError(f"{certificate} is not a certificate", hint="It must be a PEM file.") from error
    aware: datetime.datetime | None = getattr(found, "not_valid_after_utc", None)  # since 42; the other one warns there
    return aware or found.not_valid_after.replace(tzinfo=datetime.UTC)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, life: datetime.timedelta
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None, microsecond=0)
    end = now + life
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, end) - SKEW)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(words: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, words)])


def _hosts(addresses: Sequence[str]) -> Iterator[x509.GeneralName]:
    for host in dict.fromkeys([*addresses, *HERE]):
        with suppress(ValueError):
            yield x509.IPAddress(ipaddress.ip_address(host.removeprefix("[").removesuffix("]")))
            continue
        if not HOST.fullmatch(host):
            raise UsageError(f"{host!r} is not a host", hint="Write an IP address or a DNS name, without a port.")
        yield x509.DNSName(host)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        words = os.strerror(error.errno or 0).lower()
        raise StorageError(f"cannot make {folder}: {words}", hint=hint_for(error), path=str(folder)) from error


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    form = serialization.PrivateFormat.PKCS8
    write_bytes(path, key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
