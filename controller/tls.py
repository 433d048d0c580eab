"""Certificates of the links between sites: which files, whether they may be used, and what connections are made with.

Owns the directory that `[tls]` names (SECURITY.md), in the layout that nbdkit,
libnbd and QEMU read as well, and the contexts for what Python speaks itself.
Every connection made with them is authenticated at both ends, with TLS 1.2 at
least. Makes no certificates (controller/certificates.py) and opens no
connection.
"""

from __future__ import annotations

import hashlib
import os
import ssl
import stat
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, field_validator

from controller.addresses import Address
from controller.errors import UsageError

CA: Final = "ca-cert.pem"
REVOKED: Final = "ca-crl.pem"  # may be missing
SYSTEM_POLICY: Final = Path("/etc/gnutls/config")
MINIMUM: Final = ssl.TLSVersion.TLSv1_2
MAKE_HINT: Final = 'Make certificates with "pairvol tls create", and name their directory in [tls].'


def context_for(address: Address, certificates: Certificates | None) -> ssl.SSLContext | bool:
    """What httpx is to verify at an address: nothing where no TLS is spoken, which is on this machine only."""
    if not address.tls:
        return False
    if certificates is None:
        raise UsageError(
            f"{address} needs certificates, and none are named",
            hint='Name their folder in [tls] of its configuration, or in PAIRVOL_TLS; "pairvol tls create" makes it.',
        )
    return certificates.client_context()


class End(StrEnum):
    """Of a connection. Each has a certificate and a key of its own."""

    SERVER = "server"
    CLIENT = "client"

    @property
    def certificate(self) -> str:
        return f"{self}-cert.pem"

    @property
    def key(self) -> str:
        return f"{self}-key.pem"


def set_policy() -> None:
    """Let GnuTLS refuse what is older than TLS 1.2, in this process and those it starts; before it is loaded.

    A policy of the machine's own, or of whoever starts us, comes first.
    """
    if not SYSTEM_POLICY.exists():
        os.environ.setdefault("GNUTLS_SYSTEM_PRIORITY_FILE", str(Path(__file__).with_name("gnutls.conf")))


class TlsSettings(BaseModel):
    """`[tls]` in the configuration of either daemon."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    directory: Path

    @property
    def certificates(self) -> Certificates:
        return Certificates(self.directory)

    @field_validator("directory")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        if not value.is_absolute():
            raise ValueError(f"{value} is not an absolute path")
        return value


@dataclass(frozen=True, slots=True)
class Certificates:
    """The files of one site. They are read when a context is made, and never kept here."""

    directory: Path

    @property
    def certificate_names(self) -> tuple[str, ...]:
        """What expires."""
        return (CA, *(end.certificate for end in End))

    def check(self, *ends: End) -> None:
        """UsageError when files for these ends (none named: both) are missing, exposed or do not belong together."""
        for end in ends or tuple(End):
            self._context(end)

    def server_context(self) -> ssl.SSLContext:
        """For what listens: takes only peers with a certificate of our authority."""
        return self._context(End.SERVER)

    def client_context(self) -> ssl.SSLContext:
        """For what connects: the server's certificate is of our authority and names the host that was called."""
        return self._context(End.CLIENT)

    def digest(self) -> str:
        """Of all that a server is started with: another one means that the server is to be started anew."""
        total = hashlib.sha256()
        for name in (CA, REVOKED, End.SERVER.certificate, End.SERVER.key):
            content = b""
            with suppress(OSError):  # what is missing or refused is told by whoever uses it
                content = (self.directory / name).read_bytes()
            total.update(len(content).to_bytes(8) + content)
        return total.hexdigest()[:16]

    def check_files(self, end: End) -> None:
        """The part of `check` that needs no library: for those that load the files themselves."""
        for name in (CA, end.certificate, end.key):
            check_file(self.directory / name, secret=name == end.key)

    def _context(self, end: End) -> ssl.SSLContext:
        self.check_files(end)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if end is End.SERVER else ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = MINIMUM
        context.verify_mode = ssl.CERT_REQUIRED  # a client's context also verifies the host name, by default
        try:
            context.load_verify_locations(self.directory / CA)
            if (self.directory / REVOKED).exists():
                context.load_verify_locations(self.directory / REVOKED)
                context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
            context.load_cert_chain(self.directory / end.certificate, self.directory / end.key)
        except (OSError, ssl.SSLError) as error:
            raise UsageError(
                f"cannot use the {end} certificate in {self.directory}: {words_of(error)}",
                hint=f"{CA}, {end.certificate} and {end.key} must be PEM files that belong together. {MAKE_HINT}",
                path=str(self.directory),
            ) from error
        return context


def check_file(path: Path, *, secret: bool = False) -> None:
    """Refuse a file that is not there or cannot be read, and a key that others can."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {os.strerror(error.errno or 0).lower()}",
            hint=MAKE_HINT
            if isinstance(error, FileNotFoundError)
            else f"Give the user that this program runs as (uid {os.geteuid()}) the right to read it.",
            path=str(path),
        ) from error
    if secret and mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise UsageError(
            f"key {path} is open to others (mode {stat.S_IMODE(mode):04o})",
            hint=f'Type "chmod 0600 {path}" (or 0640); make new ones if others may have read it.',
            path=str(path),
        )


def words_of(error: BaseException, *, tls: bool = False) -> str:
    """Why a connection was refused, in words; of errors of `ssl`, also inside those of others."""
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, ssl.SSLError):
        seen = seen.__cause__ or seen.__context__
    if isinstance(seen, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {seen.verify_message.lower().rstrip('.')}"
    if isinstance(seen, ssl.SSLError):
        reason = (seen.reason or "").lower()
        return ALERTS.get(reason, reason.replace("_", " ") or str(seen).lower())
    words = str(error).lower().rstrip(".") or type(error).__name__
    return HUNG_UP if tls and words.startswith("server disconnected without") else words


# A certificate is refused after the client believes itself connected (TLS 1.3), and the word for it may get lost.
HUNG_UP: Final = "it hung up: our certificate may be of another authority, expired or revoked, or it was just ending"

# What the other end says, or what its first bytes show, as OpenSSL names it.
ALERTS: Final = {
    "tlsv13_alert_certificate_required": "it refuses us: we showed no certificate",
    "sslv3_alert_handshake_failure": "it refuses us: no certificate that it takes",
    "tlsv1_alert_unknown_ca": "it refuses our certificate: of an authority that it does not know",
    "sslv3_alert_certificate_expired": "it refuses our certificate: it has expired",
    "sslv3_alert_certificate_revoked": "it refuses our certificate: it was revoked",
    "sslv3_alert_bad_certificate": "it refuses our certificate",
    "tlsv1_alert_protocol_version": "it speaks another version of TLS",
    "wrong_version_number": "it does not speak TLS there",
    "record_layer_failure": "it does not speak TLS there",
    "http_request": "it was called without TLS",
    "unexpected_eof_while_reading": HUNG_UP,
    "key_values_mismatch": "certificate and key do not belong together",
}
