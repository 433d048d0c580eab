"""Where daemons listen and are called: `unix:/PATH`, `HOST:PORT` or `https://HOST:PORT`.

Owns parsing of addresses and the rule that nothing leaves this machine
without certificates at both ends: an address that the network can reach is
taken with https:// only. Knows nothing of what is spoken there.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from controller.errors import ConflictError, UsageError

UNIX_PATH_BYTES_MAX: Final = 107  # sun_path has 108 bytes, the last is NUL
WILDCARDS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}

SITE_HEADER: Final = "pairvol-site"  # of a request: the site that it is meant for


@dataclass(frozen=True, slots=True)
class Address:
    """A Unix socket (`path`) or a TCP endpoint (`host`, `port`), with TLS or without."""

    path: str | None = None
    host: str = ""
    port: int = 0
    tls: bool = False

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"{'https://' if self.tls else ''}{bracketed(self.host)}:{self.port}"

    @property
    def url(self) -> str:
        """What HTTP is asked for there."""
        if self.path is not None:
            return "http://daemon"
        return f"{'https' if self.tls else 'http'}://{bracketed(self.host)}:{self.port}"


def parse_address(text: str) -> Address:
    """An address as it is written in configuration and options (`http://` before it may be left out)."""
    stripped = text.strip()
    if stripped.startswith("unix:"):
        path = "/" + stripped.removeprefix("unix:").lstrip("/")
        check_socket_path(path)
        return Address(path=path)
    tls = stripped.startswith("https://")
    host, colon, port = stripped.removeprefix("https://" if tls else "http://").rstrip("/").rpartition(":")
    whole = host.startswith("[") == host.endswith("]")
    host = host.removeprefix("[").removesuffix("]")
    if not whole or not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(
            f"{text!r} is not an address", hint="Write unix:/run/pairvol/controller.sock or 127.0.0.1:7801."
        )
    return Address(host=host, port=int(port), tls=tls)


def parse_listener(text: str) -> Address:
    """An address to listen at or to call: a Unix socket, loopback, or with TLS; anything else is refused."""
    address = parse_address(text)
    if address.path is None and not address.tls:
        check_loopback(address.host)
    return address


def callable_address(text: str) -> str:
    """How what listens there is called from this machine: "all addresses" is none that can be called."""
    address = parse_address(text)
    if address.host in WILDCARDS:
        return replace(address, host=WILDCARDS[address.host]).url
    return text


def bracketed(host: str) -> str:
    """A host as it is written before a port."""
    return f"[{host}]" if ":" in host else host


def check_loopback(host: str) -> None:
    """Refuse a host that is not this machine's loopback."""
    with suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return
    if host == "localhost":
        return
    raise UsageError(
        f"{host} is not a loopback address",
        hint="Only links with certificates leave this machine, and this one has none: "
        'make them with "pairvol tls create", name them in [tls], write addresses as https://HOST:PORT.',
    )


def check_socket_path(path: str | os.PathLike[str]) -> None:
    """Refuse a Unix socket path that the kernel would not take."""
    length = len(os.fsencode(path))
    if length > UNIX_PATH_BYTES_MAX:
        raise UsageError(
            f"socket path {os.fspath(path)} is {length} bytes long, the kernel takes {UNIX_PATH_BYTES_MAX}",
            hint="Choose a shorter run_directory (such as /run/pairvol) or a shorter name.",
        )


def open_listener(address: Address) -> socket.socket:
    """A listening socket. A stale Unix socket is replaced, a live one is not: ConflictError."""
    if address.path is not None:
        family = socket.AF_UNIX
        _clear_stale(address.path)
    else:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    mask = os.umask(0o177)  # commands through a Unix socket are for this user only
    try:
        if address.path is None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address.path or (address.host, address.port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise ConflictError(
            f"cannot listen at {address}: {os.strerror(error.errno or 0).lower()}",
            hint="Is another program listening there? Choose another address.",
        ) from error
    finally:
        os.umask(mask)
    return listener


def _clear_stale(path: str) -> None:
    """Remove the name that a dead listener left behind."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except OSError:
            Path(path).unlink(missing_ok=True)
            return
    raise ConflictError(f"another program already listens at unix:{path}", hint="End that one first.")


def port_is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_port(host: str, taken: set[int]) -> int:
    """A port where nobody listens now and that is not in `taken`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((host, 0))
            port = int(probe.getsockname()[1])
        if port not in taken:
            return port
